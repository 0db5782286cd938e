"""A text job tokenised: what will go through the model, what it costs, and all that is wrong with it."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import orjson
import torch

from attnloss.registry import LOSSES
from service.errors import Invalid, TooLarge
from service.job import Job
from service.settings import Settings
from service.text import checks
from service.text.encoding import Encoding, encode
from service.text.forward import Needs, TokenSequence
from service.text.models import TextModel
from service.text.orders import shuffles
from service.text.windows import Window, windows

_NUMBER_BYTES = {"json": 12, "base64": 16 / 3}


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


def prepared(job: Job, model: TextModel, student: TextModel | None, settings: Settings) -> Job:
    """The job with its tokens and its true cost. Raises Invalid or TooLarge."""
    options = job.options
    site = checks.site(options, model)
    pairs = checks.pairs(options, model, student, site)
    checks.check_places("heads", options["heads"], model.heads[site])
    if student is None:
        checks.check_places("layers", options["layers"], model.layers[site])
    texts = [_text(options, k, model, student) for k in range(len(options["text"]))]
    needs = _needs(job, model, site)
    for text in texts:
        checks.fits(options, *text.size(site))
        checks.names_keys(needs.losses, text.size(site)[1])
    ready = Prepared(model, needs, texts, site, student, pairs)
    cost = _cost(ready, settings)
    _check_answer(job, ready, settings)
    longest = max(len(text.main) for text in texts)
    return replace(job, prepared=ready, group=_group(job, ready), n=longest, m=longest, cost=cost)


def _text(options: dict[str, Any], k: int, model: TextModel, student: TextModel | None) -> Text:
    own, target = options["text"][k], (options["target_text"] or [None] * (k + 1))[k]
    several = len(options["text"]) > 1
    place = f"[{k}]" if several else ""
    encoding = encode(model.tokenizer, own, field=f"text{place}")
    cut = False
    stride = options.get("stride")
    if model.context is not None and len(encoding.ids) > model.context and stride is None:
        if not options["truncate"]:
            came = f"{len(encoding.ids)} tokens, and the context of {model.name} has {model.context}"
            more = ", or score it by windows with stride" * (options["endpoint"] == "loss" and model.kind == "causal")
            raise Invalid.field(f"text{place}", f"{came}; cut it by truncate{more}")
        encoding = encode(model.tokenizer, own, max_tokens=model.context, field=f"text{place}")
        cut = True
    if student is not None:
        checks.check_same_tokens(encoding, own, student, place)
    said = None
    if target is not None:
        said = encode(model.tokenizer, target, field=f"target_text{place}", target=True)
        if model.context is not None and len(said.ids) > model.context:
            came = f"{len(said.ids)} tokens, and the context of {model.name} has {model.context}"
            if not options["truncate"]:
                raise Invalid.field(f"target_text{place}", f"{came}; cut it by truncate")
            said = encode(model.tokenizer, target, max_tokens=model.context, field=f"target_text{place}", target=True)
            cut = True
    text = Text(encoding, said, cut)
    if checks.scores_tokens(options) and model.kind == "causal" and len(encoding.ids) < 2:
        raise Invalid.field(f"text{place}", "one token, and nothing before it: there is nothing to score")
    if stride is not None:
        text = _with_windows(text, model, stride)
    return text if options.get("order") is None else _with_orders(text, own, options["order"], model, place)


def _with_windows(text: Text, model: TextModel, stride: int) -> Text:
    if model.context is None:
        raise Invalid.field("stride", f"{model.name} has no longest context, so nothing needs windows")
    if stride >= model.context:
        raise Invalid.field("stride", f"expected less than the context of {model.context} tokens, came {stride}")
    ids = text.encoding.ids
    cut = windows(len(ids), model.context, stride)
    return replace(text, windows=cut, sequences=[TokenSequence(ids[each.start : each.stop]) for each in cut])


def _with_orders(text: Text, own: str, order: dict[str, Any], model: TextModel, place: str) -> Text:
    """Other orders of the words, each given BOS; the first sequence is the given order."""
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
    returns: list[str] = list(dict.fromkeys(options["returns"]))
    statistics = [name for name in returns if name not in ("loss", "alternatives")]
    if options["reorder"] is not None:
        statistics.append("received" if options["reorder"] == "received" else "weights")
    losses = []
    for i, entry in enumerate(options.get("losses") or []):
        arrays = {key.rpartition(".")[2]: array for key, array in job.arrays.items() if key.startswith(f"losses.{i}.")}
        given = {name: value for name, value in entry.items() if value is not None}
        losses.append(given | {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()})
    compared = options.get("teacher") is not None
    return Needs(
        statistics=tuple(dict.fromkeys(statistics)),
        losses=() if compared else tuple(losses),
        layers=None if compared else _places(options["layers"], model.layers[site]),
        heads=_places(options["heads"], model.heads[site]),
        site=site,
        top_k=options["top_k"] if "top" in returns else None,
        scores=checks.scores_tokens(options) and model.kind != "encoder" and options.get("stride") is None,
        alternatives=options["top_k"] if "alternatives" in returns else 0,
        keep_maps=compared,
    )


def _places(asked: list[int] | None, count: int) -> tuple[int, ...] | None:
    return None if asked is None else tuple(place % count for place in asked)


def _cost(ready: Prepared, settings: Settings) -> int:
    """Score elements: layers × heads × n² of every sequence, and once more for each further pass of a loss."""
    total = 0
    passes = 1 + sum(LOSSES[loss["name"]].passes for loss in ready.needs.losses)
    networks = [ready.model] if ready.student is None else [ready.model, ready.student]
    for network in networks:
        maps = sum(count * network.heads[site] for site, count in network.layers.items())
        for text in ready.texts:
            mains = [] if text.windows else [(text.main, passes)]
            total += maps * sum(len(each) ** 2 * times for each, times in [*mains, *((s, 1) for s in text.sequences)])
    if total > settings.max_job_cost:
        advice = "send fewer or shorter texts, fewer permutations or losses, or a larger stride"
        raise TooLarge(f"The job costs {total} score elements, the limit is {settings.max_job_cost}; {advice}.")
    return total


def _check_answer(job: Job, ready: Prepared, settings: Settings) -> None:
    options, needs = job.options, ready.needs
    layers = len(needs.layers or range(ready.model.layers[ready.site]))
    heads = len(needs.heads or range(ready.model.heads[ready.site]))
    numbers = 0
    for text in ready.texts:
        rows, columns = text.size(ready.site)
        cells = _window(options["queries"], rows) * _window(options["keys"], columns)
        each = {"weights": cells, "received": columns, "top": 2 * rows * (needs.top_k or 0)}
        numbers += layers * heads * sum(each.get(name, rows) for name in needs.statistics)
        numbers += 3 * max(rows, columns) * needs.alternatives + len(text.orders) * len(options["text"])
        if options.get("reduction") == "none":
            numbers += layers * heads * rows * len(needs.losses)
    size = round(numbers * _NUMBER_BYTES[options["encoding"]])
    if size > settings.max_answer_bytes:
        advice = "ask for fewer layers or heads, top_k instead of weights, a window of them, or encoding base64"
        raise TooLarge(f"The answer would take about {size} bytes, the limit is {settings.max_answer_bytes}; {advice}.")


def _window(asked: list[int] | None, whole: int) -> int:
    return whole if asked is None else asked[1] - asked[0]


def _group(job: Job, ready: Prepared) -> str:
    """What text jobs share that go through the model together."""
    if job.arrays or ready.student is not None:
        return f"alone {job.id.hex()}"
    needs = ready.needs
    shared: list[Any] = [ready.model.name, needs.statistics, needs.losses, needs.layers, needs.heads, needs.site]
    shared += [needs.top_k, needs.scores, needs.alternatives, job.options["queries"], job.options["keys"]]
    return orjson.dumps(["text", *shared]).decode()
