"""A text job tokenised: what will go through the model, what it costs, and all that is wrong with it."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import orjson
import torch

from service.errors import DeadlinePassed, Invalid
from service.job import Job
from service.settings import Settings
from service.text import checks
from service.text.encoding import Encoding, encode
from service.text.forward import Needs
from service.text.limits import Budget, check_answer
from service.text.models import TextModel
from service.text.orders import number_of_orders, shuffles
from service.text.token_scores import TokenSequence
from service.text.windows import Window, windows
from service.text.words import units


@dataclass(frozen=True)
class Text:
    """One text of a job: its tokens, and the further sequences that only need scores, by their places."""

    encoding: Encoding
    target: Encoding | None = None
    truncated: bool = False
    windows: list[Window] = field(default_factory=list)
    orders: list[str] = field(default_factory=list)
    sequences: list[TokenSequence] = field(default_factory=list)

    def size(self, site: str) -> tuple[int, int]:
        """Queries and keys of its maps."""
        own = len(self.encoding.ids)
        said = own if self.target is None else len(self.target.ids)
        return {"encoder": (own, own), "cross": (said, own)}.get(site, (said, said))

    def words(self, tokens: int) -> int:
        """Words and special tokens of the side that has so many tokens; of both if they are alike, the more."""
        sides = [each for each in (self.encoding, self.target) if each is not None and len(each.ids) == tokens]
        return max(len(units(each).tokens) for each in sides)

    @property
    def main(self) -> TokenSequence:
        """What goes through the model for all but its windows and its other orders."""
        return TokenSequence(self.encoding.ids, None if self.target is None else self.target.ids)


@dataclass(frozen=True)
class Prepared:
    """The texts of a job, the model, and what is needed of each main sequence; `student` where one is compared."""

    model: TextModel
    needs: Needs
    texts: list[Text]
    site: str
    student: TextModel | None = None
    pairs: list[list[int]] = field(default_factory=list)


def prepared(
    job: Job,
    model: TextModel,
    student: TextModel | None,
    settings: Settings,
    given_up: Callable[[], bool] = lambda: False,
) -> Job:
    """The job with its tokens and its true cost. Raises Invalid or TooLarge, or DeadlinePassed once it is given up."""
    options = job.options
    site = checks.site(options, model)
    pairs = checks.pairs(options, model, student, site)
    checks.check_places("heads", options["heads"], model.heads[site])
    if student is None:
        checks.check_places("layers", options["layers"], model.layers[site])
    budget = Budget(options, [model] if student is None else [model, student], site, settings)
    if student is not None:
        names = [entry["name"] for entry in options["losses"] or [{"name": "kl"}]]
        heads = len(options["heads"] or range(model.heads[site]))
        budget.compare(len(pairs), names, heads)
    texts = []
    for k in range(len(options["text"])):
        if given_up():
            raise DeadlinePassed("The request was given up before all its texts were read.")
        texts.append(_text(options, k, model, student, budget))
    needs = _needs(job, model, site)
    for text in texts:
        checks.fits(options, *text.size(site))
        checks.names_keys(needs.losses, text.size(site)[1])
    ready = Prepared(model, needs, texts, site, student, pairs)
    check_answer(options, ready, settings)
    longest = max(len(text.main) for text in texts)
    return replace(job, prepared=ready, group=_group(job, ready), n=longest, m=longest, cost=budget.cost)


def _text(options: dict[str, Any], k: int, model: TextModel, student: TextModel | None, budget: Budget) -> Text:
    place = f"[{k}]" if len(options["text"]) > 1 else ""
    own, said = options["text"][k], None
    stride: int | None = options.get("stride")
    encoding, cut = _encoded(own, options, model, f"text{place}", any_length=stride is not None)
    if options["target_text"] is not None:
        said, cut_too = _encoded(options["target_text"][k], options, model, f"target_text{place}", target=True)
        cut |= cut_too
    text = Text(encoding, said, cut)
    if student is not None:
        checks.check_same_tokens(text, student, place)
    if checks.scores_tokens(options, model) and model.kind == "causal" and len(encoding.ids) < 2:
        raise Invalid.field(f"text{place}", "one token, and nothing before it: there is nothing to score")
    if stride is not None:
        return _with_windows(text, model, stride, budget)
    budget.add_main(len(text.main))
    return text if options.get("order") is None else _with_orders(text, options["order"], model, place, budget)


def _encoded(
    text: str, options: dict[str, Any], model: TextModel, field: str, *, any_length: bool = False, target: bool = False
) -> tuple[Encoding, bool]:
    """The tokens, and whether the text was cut to the context. Raises Invalid where it must not be."""
    encoding = encode(model.tokenizer, text, field=field, target=target)
    if any_length or model.context is None or len(encoding.ids) <= model.context:
        return encoding, False
    if not options["truncate"]:
        came = f"{len(encoding.ids)} tokens, and the context of {model.name} has {model.context}"
        windows = options["endpoint"] == "loss" and model.kind == "causal"
        raise Invalid.field(field, f"{came}; cut it by truncate{', or score it by windows with stride' * windows}")
    return encode(model.tokenizer, text, max_tokens=model.context, field=field, target=target), True


def _with_windows(text: Text, model: TextModel, stride: int, budget: Budget) -> Text:
    if model.context is None:
        raise Invalid.field("stride", f"{model.name} has no longest context, so nothing needs windows")
    if stride >= model.context:
        raise Invalid.field("stride", f"expected less than the context of {model.context} tokens, came {stride}")
    ids = text.encoding.ids
    budget.add_windows(len(ids), model.context, stride)
    cut = windows(len(ids), model.context, stride)
    return replace(text, windows=cut, sequences=[TokenSequence(ids[each.start : each.stop]) for each in cut])


def _with_orders(text: Text, order: dict[str, Any], model: TextModel, place: str, budget: Budget) -> Text:
    """Other orders of the words, each given BOS; the first sequence is the given order."""
    if text.truncated:
        raise Invalid.field("order", f"compares whole texts, and text{place} had to be cut: leave truncate out")
    own = text.encoding.text
    most = min(order["permutations"], number_of_orders(own.split()) - 1)
    budget.add_orders(len(text.encoding.ids) + 1, 1 + most)
    others = shuffles(own, order["permutations"], order["seed"])
    sequences = []
    for each in [own, *others]:
        ids = encode(model.tokenizer, each, field=f"text{place}").ids
        if ids[0] != model.bos:
            assert model.bos is not None
            ids = [model.bos, *ids]
        if model.context is not None and len(ids) > model.context:
            came = f"{len(ids)} tokens with BOS in one order, and the context of {model.name} has {model.context}"
            raise Invalid.field(f"text{place}", came)
        sequences.append(TokenSequence(ids))
    return replace(text, orders=others, sequences=sequences)


def _needs(job: Job, model: TextModel, site: str) -> Needs:
    options = job.options
    returns: list[str] = options["returns"]
    statistics = checks.statistics(options)
    if options["reorder"] is not None:
        statistics.append("received" if options["reorder"] == "received" else "weights")
    losses = []
    for i, entry in enumerate(options.get("losses") or []):
        arrays = {key.rpartition(".")[2]: array for key, array in job.arrays.items() if key.startswith(f"losses.{i}.")}
        given = {name: value for name, value in entry.items() if value is not None}
        losses.append(given | {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()})
    compared = options.get("teacher") is not None
    whole = options["reorder"] == "attention"
    return Needs(
        statistics=tuple(dict.fromkeys(statistics)),
        losses=() if compared else tuple(losses),
        layers=None if compared else _places(options["layers"], model.layers[site]),
        heads=_places(options["heads"], model.heads[site]),
        site=site,
        top_k=options["top_k"] if "top" in returns else None,
        scores=checks.scores_tokens(options, model) and options.get("stride") is None,
        alternatives=options["top_k"] if "alternatives" in returns else 0,
        keep_maps=compared,
        queries=None if whole else _window(options["queries"]),
        keys=None if whole else _window(options["keys"]),
    )


def _places(asked: list[int] | None, count: int) -> tuple[int, ...] | None:
    return None if asked is None else tuple(place % count for place in asked)


def _window(asked: list[int] | None) -> tuple[int, int] | None:
    return None if asked is None else (asked[0], asked[1])


def _group(job: Job, ready: Prepared) -> str:
    """What text jobs share that go through the model together."""
    if job.arrays or ready.student is not None:
        return f"alone {job.id.hex()}"
    needs = ready.needs
    shared: list[Any] = [ready.model.name, needs.statistics, needs.losses, needs.layers, needs.heads, needs.site]
    shared += [needs.top_k, needs.scores, needs.alternatives, needs.queries, needs.keys]
    return orjson.dumps(["text", *shared]).decode()
