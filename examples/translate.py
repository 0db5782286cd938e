"""English to French with and without a loss on where the decoder attends.

The article's claim: a loss on attention weights is good for the alignment of translations. Here a small encoder and
decoder translates what programs say (`examples.catalogues`), from 18,000 pairs that pip installs. A quarter of what it
trains on are lists of such texts, to be translated in order or, if a mark says so, backwards (`examples.corpus`). All
variants of a seed start from the same weights and see the same batches:

plain              no loss on attention
guided             one head of the cross-attention is kept near the diagonal (Tachibana et al. 2017)
guided everywhere  all heads of all layers are
supervised         one head is taught which source token each target token comes from (Liu et al. 2016, Garg et al.
                   2019), by the links of a statistical aligner on the training pairs (`examples.aligner`)

What is measured, on texts that were held out: nats a token; chrF and BLEU of greedy translations, on the texts' lower
case tokens; and the alignment error on lists: the share of the target's tokens whose strongest source token belongs to
another entry. The error is that of the head with the least of it on other lists, for each model anew: a head of either
layer or their mean, asked when the token is predicted or when it is read, since nothing tells a plain model which of
its heads should align (Garg et al. 2019 found the penultimate layer's mean to be best).
"""

import statistics
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from attnloss import losses
from docs.plots.canvas import COLOURS, panels
from examples.catalogues import LICENCES, near_duplicates
from examples.corpus import Batch, Corpus
from examples.encoder_decoder import Map, Translator
from examples.questions import draw_map, errors, in_batches, map_of, nats, token_loss, translations, unigram_nats
from examples.study import Case, Run, percent, rounded, run_alone, spread

VARIANTS = ("plain", "guided", "guided everywhere", "supervised")
ORDERS = {"in order": False, "backwards": True}
BATCH, LISTED = 32, 0.25
RATE, WARM_UP, SMOOTHING = 2e-3, 0.1, 0.1
LAYER = 0
"""Whose first head is guided or supervised: the last but one, as in Garg et al."""
SIGMA = 0.2
WEIGHT = {"guided": 1.0, "guided everywhere": 1.0, "supervised": 0.3}
SMALL = {"listed": 0.8, "rate": 4e-3, "weight": 1.0}
"""What makes 160 steps teach an alignment: more lists, and more of everything."""
POINTS = 8
"""Of the learning curve."""


def cases(*, full: bool) -> list[Case]:
    size = {"steps": 2000, "pairs": 20000, "width": 96, "words": 2000, "asked": 1000}
    if full:
        return [{"variant": variant, "seed": seed} | size for seed in range(3) for variant in VARIANTS]
    small = {"steps": 160, "pairs": 3000, "width": 64, "words": 800, "asked": 100} | SMALL
    return [{"variant": variant, "seed": 0} | small for variant in ("plain", "guided", "supervised")]


def guided(maps: Sequence[Map], batch: Batch, heads: slice) -> Tensor:
    """How far off the diagonal the heads attend, mean over heads and tokens."""
    terms = [losses.guided(seen.query[:, heads], seen.key[:, heads], sigma=SIGMA, **batch.lengths) for seen in maps]
    return torch.stack(terms).mean()


def supervised(seen: Map, batch: Batch) -> Tensor:
    """Compute −log of the weight at the linked token, of the first head, mean over tokens that have a link."""
    links = batch.links[:, None, :, None]
    linked = (links >= 0).float()
    total = losses.cross_entropy(
        seen.query[:, :1], seen.key[:, :1], target=links, target_weights=linked, compat="fairseq", **batch.lengths
    )
    return total / linked.sum().clamp(min=1)


def attention_loss(variant: str, maps: Sequence[Map], batch: Batch) -> Tensor:
    if variant == "supervised":
        return supervised(maps[LAYER], batch)
    everywhere = variant == "guided everywhere"
    return guided(maps if everywhere else [maps[LAYER]], batch, slice(None if everywhere else 1))


def train(model: Translator, corpus: Corpus, case: Case) -> Iterator[tuple[int, float]]:
    """Take the steps, and tell after each its number and attention loss."""
    optimizer = torch.optim.Adam(model.parameters(), lr=case.get("rate", RATE), betas=(0.9, 0.98), fused=True)
    steps, warm = case["steps"], WARM_UP * case["steps"]
    schedule = LambdaLR(optimizer, lambda step: min((step + 1) / warm, (steps - step) / (steps - warm)))
    batches = corpus.batches(BATCH, listed=case.get("listed", LISTED), seed=case["seed"])
    for step, batch in zip(range(1, steps + 1), batches, strict=False):
        optimizer.zero_grad()
        states, maps = model(batch.source, batch.target)
        loss, attended = token_loss(model, states, batch, smoothing=SMOOTHING), torch.tensor(0.0)
        if case["variant"] != "plain":
            attended = attention_loss(case["variant"], maps, batch)
            loss = loss + case.get("weight", WEIGHT[case["variant"]]) * attended
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        yield step, attended.item()


@cache
def corpus_of(pairs: int, words: int) -> Corpus:
    """The same for all variants and seeds."""
    return Corpus(pairs, words)


def run(case: Case) -> dict[str, Any]:
    corpus = corpus_of(case["pairs"], case["words"])
    torch.manual_seed(case["seed"])
    model = Translator(case["words"], width=case["width"])
    texts = in_batches([corpus.join([entry]) for entry in corpus.entries["held out"][: case["asked"]]])
    lists = {
        (part, order): corpus.lists(part, case["asked"] // 2, entries=(3, 5), backwards=backwards, seed=0)
        for part in ("development", "held out")
        for order, backwards in ORDERS.items()
    }
    curve, attended, trained_s, began_s = [], [], 0.0, time.process_time()
    for step, loss in train(model, corpus, case):
        attended.append(loss)
        if step % (case["steps"] // POINTS) == 0:
            trained_s += time.process_time() - began_s
            model.eval()
            curve.append([step, nats(model, texts)])
            model.train()
            began_s = time.process_time()
    model.eval()
    asked = {names: in_batches(items) for names, items in lists.items()}
    table = {order: errors(model, asked["development", order]) for order in ORDERS}
    reading = torch.unravel_index((table["in order"] + table["backwards"]).argmin(), table["in order"].shape)
    tenth = len(attended) // 10
    result = {
        "curve": curve,
        "nats": {"texts": curve[-1][1]} | {order: nats(model, asked["held out", order]) for order in ORDERS},
        "unigram nats": unigram_nats(corpus, texts),
        "alignment error": {order: errors(model, asked["held out", order])[reading].item() for order in ORDERS},
        "errors to choose by": {order: values.tolist() for order, values in table.items()},
        "reading": [int(place) for place in reading],
        "attention loss": [statistics.fmean(attended[:tenth]), statistics.fmean(attended[-tenth:])],
        "trained s": trained_s,
        **translations(model, corpus, texts),
    }
    if case["seed"] == 0:
        result["map"] = map_of(model, corpus, lists["held out", "backwards"], result["reading"])
        result["pairs"] = {part: len(pairs) for part, pairs in corpus.pairs.items()}
        result["packages"] = Counter(pair.package for pairs in corpus.pairs.values() for pair in pairs)
        result["near duplicates"] = near_duplicates(corpus.pairs["held out"], corpus.pairs["training"])
    return rounded(result)


def by_variant(runs: Sequence[Run], measure: Any, form: Any) -> str:
    """A number of every variant, with its spread over seeds."""
    results = {variant: [run.result for run in runs if run.case["variant"] == variant] for variant in VARIANTS}
    return "; ".join(
        f"{variant} {spread([measure(result) for result in made], form)}" for variant, made in results.items() if made
    )


def gains(runs: Sequence[Run], variant: str, measure: Any) -> list[float]:
    """What a variant has more of than the plain one of the same seed."""
    made = {(run.case["variant"], run.case["seed"]): measure(run.result) for run in runs}
    return [value - made["plain", seed] for (name, seed), value in made.items() if name == variant]


def findings(runs: Sequence[Run]) -> dict[str, str]:
    first = next(run.result for run in runs if "pairs" in run.result)
    both = {
        variant: [
            statistics.fmean(run.result["alignment error"].values()) for run in runs if run.case["variant"] == variant
        ]
        for variant in ("plain", "supervised")
    }
    told = " → ".join(spread(values, percent) for values in both.values())
    found = {"alignment error of held-out lists, plain → supervised": told}
    for order in ORDERS:
        measured = by_variant(runs, lambda result, order=order: result["alignment error"][order], percent)
        found[f"alignment error of lists {order}"] = measured
    for name in ("chrF", "BLEU"):
        found[name] = by_variant(runs, lambda result, name=name: result[name], "{:.1f}".format)
        if more := gains(runs, "supervised", lambda result, name=name: result[name]):
            found[f"{name}, supervised more than plain"] = spread(more, "{:+.1f}".format)
    for what, name in (("texts", "held-out texts"), *((order, f"held-out lists {order}") for order in ORDERS)):
        measured = by_variant(runs, lambda result, what=what: result["nats"][what], "{:.3f}".format)
        found[f"nats a token, {name}"] = measured
    found["nats a token of the frequencies alone"] = f"{first['unigram nats']:.3f}"
    found["seconds to train"] = by_variant(runs, lambda result: result["trained s"], "{:.0f}".format)
    trained = [run for run in runs if run.case["variant"] != "plain"]
    for end, name in enumerate(("first", "last")):
        told = by_variant(trained, lambda result, end=end: result["attention loss"][end], "{:.2f}".format)
        found[f"attention loss, {name} tenth of the steps"] = told
    found["pairs"] = ", ".join(f"{part} {count}" for part, count in first["pairs"].items())
    found["of"] = ", ".join(f"{name} {count} ({LICENCES[name]})" for name, count in first["packages"].items())
    found["held-out texts that are a training text but for one word"] = percent(first["near duplicates"])
    found["sacrebleu"] = "; ".join(first["signatures"].values())
    return found


def figure(runs: Sequence[Run]) -> Figure:
    drawn, axes = panels(3, rows=2, width=3.1, height=6.2, title_lines=2)
    of_seed = {(run.case["variant"], run.case["seed"]): run.result for run in runs}
    labels = set()
    for (variant, seed), result in of_seed.items():
        number = VARIANTS.index(variant)
        colour = COLOURS[number]
        steps, values = zip(*result["curve"], strict=True)
        plain = [value for _, value in of_seed["plain", seed]["curve"]]
        more = [value - known for value, known in zip(values, plain, strict=True)]
        label = None if variant in labels else variant
        axes[0].plot(steps, more, color=colour, linewidth=1.2, label=label)
        labels.add(variant)
        axes[1].plot(number, result["chrF"], "o", color=colour, alpha=0.8)
        for order, marker in zip(ORDERS, "o^", strict=True):
            axes[2].plot(number, 100 * result["alignment error"][order], marker, color=colour, alpha=0.8)
    axes[0].set(title="held-out texts: nats a token\nmore than the plain model's", xlabel="step")
    low, high = axes[0].get_ylim()
    axes[0].set_ylim(low, high + 0.35 * (high - low))
    axes[0].legend(loc="upper right", ncols=2, handlelength=1.2, columnspacing=1.2)
    axes[1].set(title="chrF of held-out texts,\ngreedy translations")
    axes[2].set(title="alignment error of held-out lists, %\n● in order  ▲ backwards")
    axes[2].set_ylim(0, 1.08 * axes[2].get_ylim()[1])
    for each in axes[:3]:
        each.grid(axis="y", color="#e4e4e0", linewidth=0.6)
    for each in axes[1:3]:
        each.set_xticks(range(len(VARIANTS)), [variant.replace(" ", "\n") for variant in VARIANTS])
        each.set_xlim(-0.5, len(VARIANTS) - 0.5)
    seen = {run.case["variant"]: run.result["map"] for run in runs if "map" in run.result}
    shown = [variant for variant in ("plain", "guided everywhere", "guided", "supervised") if variant in seen]
    for each, variant in zip(axes[3:], [*shown[:2], shown[-1]], strict=True):
        draw_map(each, seen[variant], variant)
        each.set_anchor("N")
        x, y, width, height = each.get_position().bounds
        each.set_position((x, y + 0.04, width, height))  # words below need room
    return drawn


if __name__ == "__main__":
    run_alone("translate")
