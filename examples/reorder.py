"""Does re-ordering by attention weights bring a shuffled sentence back? With the default model, against its token loss.

The article suggests to sort a sequence by its weights. The service does it in two ways (`reorder`): words by the
attention that they receive, or a walk from word to word along the strongest ties. Both see only the shuffled words.
Whoever may ask the model about every order can also take the order whose attention has the least entropy, which is the
article's loss, or the one that costs the fewest nats, which needs no attention map. The sentences of 3 to 5 words in
sentences.txt were written for this, without capitals and full stops, since those would give the ends away.
"""

import random
from collections.abc import Sequence
from itertools import permutations
from statistics import fmean
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from docs.plots.canvas import COLOURS, GREY, panels
from examples.study import ROOT, Case, Run, of, percent, rounded, run_alone, spread
from service.local import LocalService

SENTENCES = ROOT / "examples" / "sentences.txt"
WAYS = {"received": "by what each receives", "attention": "by a walk along ties"}
RULES = {
    "loss": "fewest nats",
    "entropy": "least entropy",
    "most entropy": "most entropy",
    "head": "entropy of one head",
}


def cases(*, full: bool) -> list[Case]:
    count, seeds = (112, 5) if full else (25, 2)
    shuffled = [{"question": "shuffles", "sentences": count, "seed": seed} for seed in range(seeds)]
    return [{"question": "all orders", "sentences": count}, *shuffled]


def sentences(count: int) -> list[str]:
    return SENTENCES.read_text().splitlines()[:count]


def shuffled(sentence: str, generator: random.Random) -> str:
    """Another order of a sentence's words."""
    others = sorted({" ".join(words) for words in permutations(sentence.split())} - {sentence})
    return generator.choice(others)


def of_shuffles(texts: Sequence[str], seed: int) -> dict[str, Any]:
    """For each way and layer (all of them: −1): the share of sentences that come back, and the pairs in order."""
    service, generator = LocalService(), random.Random(seed)
    given = [shuffled(text, generator) for text in texts]
    layers = range(-1, service.models()[0]["layers"])
    found: dict[str, Any] = {way: {"found": [], "pairs": []} for way in WAYS}
    for way in WAYS:
        for layer in layers:
            asked = None if layer < 0 else [layer]
            answer = service.attention_text(given, reorder=way, layers=asked).results
            told = [result["reorder"]["text"] for result in answer]
            found[way]["found"].append(fmean(a == b for a, b in zip(told, texts, strict=True)))
            found[way]["pairs"].append(fmean(map(pairs_in_order, told, texts)))
    return found


def pairs_in_order(told: str, truth: str) -> float:
    """The share of all pairs of different words in their order; a word that comes twice counts as its first."""
    place = {word: i for i, word in reversed(list(enumerate(truth.split())))}
    order = [place[word] for word in told.split()]
    pairs = [(a, b) for i, a in enumerate(order) for b in order[i + 1 :] if a != b]
    return fmean(a < b for a, b in pairs)


def of_all_orders(texts: Sequence[str]) -> dict[str, Any]:
    """For each sentence: how many orders it has, and its rank among them by loss and by the entropies."""
    service = LocalService()
    ranks: dict[str, list[int]] = {"orders": [], "loss": [], "entropy": [], "most entropy": []}
    heads = []
    for text in texts:
        orders = [text, *sorted({" ".join(words) for words in permutations(text.split())} - {text})]
        results = service.loss_text(orders, losses=[{"name": "entropy"}]).results
        nats = np.array([result["loss"] * (len(result["tokens"]) - 1) for result in results])
        entropy = np.array([[layer["losses"]["entropy"] for layer in result["layers"]] for result in results])
        ranks["orders"].append(len(orders))
        ranks["loss"].append(rank_of_first(nats))
        ranks["entropy"].append(rank_of_first(entropy.mean((1, 2))))
        ranks["most entropy"].append(rank_of_first(-entropy.mean((1, 2))))
        heads.append([rank_of_first(each) for each in entropy.reshape(len(orders), -1).T])
    return ranks | {"head": chosen_on_the_other_half(np.array(heads), np.array(ranks["orders"]))}


def rank_of_first(values: np.ndarray) -> int:
    return 1 + int((values < values[0]).sum())


def chosen_on_the_other_half(ranks: np.ndarray, orders: np.ndarray) -> list[int]:
    """Ranks [sentences] by the head that is best on the sentences of the other half, of ranks [sentences, heads]."""
    both = np.stack([ranks, orders[:, None] + 1 - ranks])  # a head may as well rank by its largest entropy
    chosen = np.empty(len(ranks), int)
    for half in (0, 1):
        mean = (both[:, 1 - half :: 2] / orders[None, 1 - half :: 2, None]).mean(1)
        sign, head = np.unravel_index(mean.argmin(), mean.shape)
        chosen[half::2] = both[sign, half::2, head]
    return [int(each) for each in chosen]


def run(case: Case) -> dict[str, Any]:
    texts = sentences(case["sentences"])
    told = of_all_orders(texts) if case["question"] == "all orders" else of_shuffles(texts, case["seed"])
    return rounded(told)


def share_found(ranks: Sequence[int]) -> str:
    """The share of first ranks, with a 95 % interval from resampled sentences."""
    hits = np.array(ranks) == 1
    drawn = np.random.default_rng(0).choice(hits, (2000, len(hits))).mean(1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return f"{percent(hits.mean())} ({percent(low)}–{percent(high)}, 95 % by resampling {len(hits)} sentences)"


def places(runs: Sequence[Run], rule: str) -> np.ndarray:
    """Where the original of each sentence ranks among all orders, from 0 to 1."""
    (orders,), (ranks,) = (of(runs, key, question="all orders") for key in ("orders", rule))
    return (np.array(ranks) - 1) / np.maximum(np.array(orders) - 1, 1)


def chance(runs: Sequence[Run]) -> float:
    return fmean(1 / orders for orders in of(runs, "orders", question="all orders")[0])


def findings(runs: Sequence[Run]) -> dict[str, str]:
    told = {}
    for rule, name in RULES.items():
        (ranks,) = of(runs, rule, question="all orders")
        told[f"original order ranks first of all, {name}"] = share_found(ranks)
    for rule, name in RULES.items():
        told[f"mean place of the original, {name} (0 is first, chance 0.5)"] = f"{places(runs, rule).mean():.2f}"
    told["chance"] = percent(chance(runs))
    for way, name in WAYS.items():
        results = of(runs, way, question="shuffles")
        told[f"shuffled sentences that come back {name}"] = spread([each["found"][0] for each in results], percent)
        told[f"… {name}, at the best of the {len(results[0]['found']) - 1} layers"] = percent(
            max(np.mean([each["found"][1:] for each in results], axis=0))
        )
        told[f"… {name}, pairs of words in their order (chance 50 %)"] = spread(
            [each["pairs"][0] for each in results], percent
        )
    return told


def figure(runs: Sequence[Run]) -> Figure:
    drawn, (left, right) = panels(2, width=4.4, height=3.0)
    for colour, (rule, label) in zip(COLOURS, RULES.items(), strict=False):
        ordered = np.sort(places(runs, rule))
        left.plot(
            ordered, (1 + np.arange(len(ordered))) / len(ordered), color=colour, label=label, drawstyle="steps-post"
        )
    left.plot([0, 1], [0, 1], color=GREY, linestyle=":", label="chance")
    left.set(title="where the original ranks among all orders", xlabel="place of the original, 0 = first")
    left.set(ylabel="share of sentences", ylim=(0, 1.02))
    left.legend(loc="lower right")
    bars = [
        share for way in WAYS for share in [np.mean([each["found"][0] for each in of(runs, way, question="shuffles")])]
    ]
    names = [*WAYS.values(), "chance", "fewest nats"]
    (ranks,) = of(runs, "loss", question="all orders")
    bars += [chance(runs), float(np.mean(np.array(ranks) == 1))]
    right.barh(range(len(names)), bars, color=[COLOURS[1], COLOURS[1], GREY, COLOURS[0]])
    for i, share in enumerate(bars):
        right.text(share + 0.01, i, percent(share), va="center")
    right.set_yticks([])
    for i, name in enumerate(names):
        right.text(0.99, i, name, va="center", ha="right", transform=right.get_yaxis_transform())
    right.set(
        title="shuffled sentences brought back", xlabel="share of sentences", xlim=(0, 1.4), xticks=[0, 0.25, 0.5]
    )
    return drawn


if __name__ == "__main__":
    run_alone("reorder")
