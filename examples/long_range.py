"""Does an entropy loss help attention to find what lies far back.

Claim: the loss helps with long-range dependencies. The task is the purest such dependency: at each of the last 32
places of 224 random tokens, name the token k places back. One causal transformer layer of 4 heads sees all before,
whatever k is, so that a larger k is a longer way and not a larger haystack. Only the loss on attention differs between
variants; model, data and order of the batches are those of the seed.

Positions are sinusoids added to the embeddings (Vaswani et al. 2017, Attention Is All You Need), chosen because "k
back" is then one rotation of the query's position, the same at all places, as near as far. With positions that favour
near keys, such as ALiBi's, a larger k would be harder for that reason alone; without any, the task cannot be done.

Every batch is new, so accuracy is always on what was not seen. See Zhai et al. 2023, Stabilizing Transformer Training
by Preventing Attention Entropy Collapse, for what too little entropy does, and docs/losses.md for why a row that is on
one key has no gradient that leads away from it.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn import functional as F

from attnloss import attention, losses
from docs.plots.canvas import COLOURS, DASHES, GREY, legend_below, panels
from examples.study import Case, Run, first_step, of, percent, rounded, run_alone, spread

PLACES, ASKED = 224, 32
"""Tokens in a sequence, and how many of its last places are asked for the token k back."""
TOKENS, WIDTH, HEADS, BATCH, RATE = 16, 64, 4, 16, 3e-3
LATE = 300
"""The step, usually after the task is learned, from which the late penalty holds."""
MEASURED_EVERY = 10
EXAMINED = 64
"""Sequences on which a trained model is examined."""


class Variant(NamedTuple):
    """What is added to the task's loss: weight · loss(query, key), from a step on."""

    label: str
    loss: str = "entropy"
    weight: float = 0.0
    since: int = 0


VARIANTS = {
    "plain": Variant("no loss on attention"),
    "slight": Variant("+0.001 · entropy", weight=0.001),
    "penalty": Variant("+0.01 · entropy", weight=0.01),
    "late": Variant(f"+0.01 · entropy from step {LATE}", weight=0.01, since=LATE),
    "bonus": Variant("−0.01 · entropy", weight=-0.01),
    "known": Variant("+0.1 · cross-entropy to key i − k", loss="cross_entropy", weight=0.1),
}


def cases(*, full: bool) -> list[Case]:
    distances, seeds, steps = ((4, 16, 64, 192), 3, 400) if full else ((64,), 1, 300)
    variants = list(VARIANTS) if full else ["plain", "penalty", "known"]
    return [
        {"variant": variant, "k": k, "seed": seed, "steps": steps}
        for seed in range(seeds)
        for k in distances
        for variant in variants
    ]


class Recaller(nn.Module):
    """One layer of a transformer; only the last places ask, all are keys."""

    positions: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(TOKENS, WIDTH)
        self.register_buffer("positions", sinusoids())
        self.query, self.key, self.value, self.mix = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.norm, self.norm_after, self.norm_last = (nn.LayerNorm(WIDTH) for _ in range(3))
        self.own = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))
        self.name = nn.Linear(WIDTH, TOKENS)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Give the logits of the places that ask, and their queries and all keys for the losses."""
        x = self.tokens(tokens) + self.positions
        y = self.norm(x)
        query, key, value = (
            each.unflatten(-1, (HEADS, -1)).transpose(1, 2)
            for each in (self.query(y[:, -ASKED:]), self.key(y), self.value(y))
        )
        # Causal attention is aligned to the end, so the last places see up to themselves.
        attended = attention(query, key, value, causal=True).output
        x = x[:, -ASKED:] + self.mix(attended.transpose(1, 2).flatten(-2))
        return self.name(self.norm_last(x + self.own(self.norm_after(x)))), query, key


def sinusoids() -> Tensor:
    """Position vectors [PLACES, WIDTH], pairs of sine and cosine."""
    angles = torch.arange(PLACES)[:, None] * 10000 ** (-torch.arange(0, WIDTH, 2) / WIDTH)
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1)


def sought(k: int) -> Tensor:
    """The key that each of the last places should attend to."""
    return torch.arange(PLACES - ASKED, PLACES) - k


def added(variant: Variant, query: Tensor, key: Tensor, k: int) -> Tensor:
    """The loss on attention, from queries and keys alone."""
    if variant.loss == "cross_entropy":
        target = sought(k).expand(query.shape[:3])
        return variant.weight * losses.cross_entropy(query, key, target=target, causal=True)
    return variant.weight * losses.entropy(query, key, causal=True)


def run(case: Case) -> dict[str, Any]:
    torch.manual_seed(case["seed"])
    variant, k, model = VARIANTS[case["variant"]], case["k"], Recaller()
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    before, curve = examine(model, k), []
    torch.manual_seed(case["seed"])
    for step in range(1, case["steps"] + 1):
        tokens = torch.randint(TOKENS, (BATCH, PLACES))
        answers = tokens[:, sought(k)]
        logits, query, key = model(tokens)
        loss = F.cross_entropy(logits.flatten(0, 1), answers.flatten())
        if step % MEASURED_EVERY == 0:
            right = (logits.argmax(-1) == answers).float().mean().item()
            curve.append([step, right, losses.entropy(query.detach(), key.detach(), causal=True).item()])
        if variant.weight and step > variant.since:
            loss = loss + added(variant, query, key, k)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return rounded({"curve": curve, "entropy_before": before["entropy"]} | examine(model, k), 4)


@torch.no_grad()
def examine(model: Recaller, k: int) -> dict[str, Any]:
    """Accuracy, and of each head entropy, mean distance, and the share of queries whose strongest key is k back."""
    tokens = torch.randint(TOKENS, (EXAMINED, PLACES), generator=torch.Generator().manual_seed(1000))
    logits, query, key = model(tokens)
    told = attention(query, key, causal=True, returns=["entropy", "top"], top_k=1)
    distance = losses.distance(query, key, causal=True, reduction="none")
    found = (told.top.index[..., 0] == sought(k)).float()
    return {
        "accuracy": (logits.argmax(-1) == tokens[:, sought(k)]).float().mean().item(),
        "entropy": told.entropy.mean((0, 2)).tolist(),
        "distance": distance.mean((0, 2)).tolist(),
        "found": found.mean((0, 2)).tolist(),
    }


def best(result: dict[str, Any]) -> int:
    """The head whose strongest key is most often the one k back."""
    return max(range(HEADS), key=lambda head: result["found"][head])


def of_best(results: Sequence[dict[str, Any]], what: str) -> list[float]:
    """What the best head of each run came to."""
    return [result[what][best(result)] for result in results]


def by_k(runs: Sequence[Run], variant: str) -> dict[int, list[dict[str, Any]]]:
    """Results of a variant by k, near first."""
    mine = [run for run in runs if run.case["variant"] == variant]
    return {k: [run.result for run in mine if run.case["k"] == k] for k in sorted({run.case["k"] for run in mine})}


def told_steps(results: Sequence[dict[str, Any]]) -> str:
    """After how many steps 90 % were right, and in how many seeds if not in all."""
    steps = [step for result in results if (step := first_step(result["curve"], 0.9)) < math.inf]
    told = spread(steps, "{:.0f}".format) if steps else "never"
    return told if len(steps) in (0, len(results)) else f"{told}; never in {len(results) - len(steps)}"


def findings(runs: Sequence[Run]) -> dict[str, str]:
    told = {}
    shown = [name for name in VARIANTS if of(runs, "accuracy", variant=name)]
    near_first = " / ".join(str(k) for k in sorted({run.case["k"] for run in runs}))
    for name in sorted(shown, key=lambda name: name != "penalty"):
        accuracy = of(runs, "accuracy", variant=name)
        told[f"accuracy at the end over all k, {VARIANTS[name].label}"] = spread(accuracy, percent)
    rows: dict[str, Callable[[Sequence[dict[str, Any]]], str]] = {
        "steps until 90 % are right": told_steps,
        "entropy of the best head, nats": lambda results: spread(of_best(results, "entropy")),
        "queries whose strongest key in it is k back": lambda results: spread(of_best(results, "found"), percent),
        # The mean distance of a head that has found nothing tells nothing, even where it happens to be k.
        "its mean distance": lambda results: (
            spread(of_best(results, "distance")) if min(of_best(results, "found")) > 0.5 else "–"
        ),
    }
    told["entropy of a head before training, nats"] = spread(
        [sum(before) / HEADS for before in of(runs, "entropy_before", variant=shown[0])], "{:.2f}".format
    )
    for what, number in rows.items():
        for name in shown:
            of_all_k = " / ".join(number(results) for results in by_k(runs, name).values())
            told[f"{what}, k = {near_first}, {VARIANTS[name].label}"] = of_all_k
    return told


def figure(runs: Sequence[Run]) -> Figure:
    drawn, (curves, speed, entropy) = panels(3, width=3.3, height=3.6, title_lines=2)
    k, last = (max(run.case[what] for run in runs) for what in ("k", "steps"))
    for place, name in enumerate(VARIANTS):
        colour, aside = COLOURS[place], 1.05 ** (place - (len(VARIANTS) - 1) / 2)
        seeds = [torch.tensor(each) for each in of(runs, "curve", variant=name, k=k)]
        for each in seeds:
            curves.plot(each[:, 0], each[:, 1], color=colour, linewidth=0.6, alpha=0.5)
        if seeds:
            mean = torch.stack(seeds).mean(0)
            curves.plot(mean[:, 0], mean[:, 1], color=colour, linestyle=DASHES[place], label=VARIANTS[name].label)
        of_k = by_k(runs, name)
        steps = {k: [first_step(result["curve"], 0.9) for result in results] for k, results in of_k.items()}
        dots(speed, steps, colour, aside, never=1.08 * last)
        dots(entropy, {k: of_best(results, "entropy") for k, results in of_k.items()}, colour, aside)
    curves.axhline(1 / TOKENS, color=GREY, linewidth=0.8, linestyle=":")
    curves.set(title=f"right answers, k = {k}\nevery seed and the mean", xlabel="step", ylim=(0, 1.02))
    speed.axhline(1.08 * last, color=GREY, linewidth=0.8, linestyle=":")
    speed.set(title="steps until 90 % are right\nat the top: never", xlabel="k", ylim=(0, 1.15 * last))
    entropy.set(title="entropy of the best head\nafter training, nats", xlabel="k", ylim=(0, None))
    for axes in (speed, entropy):
        axes.set_xscale("log")
        axes.minorticks_off()
        marks = sorted({run.case["k"] for run in runs})
        axes.set_xticks(marks, [str(mark) for mark in marks])
    legend_below(drawn, curves)
    return drawn


def dots(axes: Axes, values: dict[int, list[float]], colour: str, aside: float, never: float = math.inf) -> None:
    """A dot per seed and k, infinities at `never`, and a line through the means where there are none."""
    for k, each in values.items():
        axes.plot([k * aside] * len(each), [min(value, never) for value in each], "o", color=colour, markersize=2.5)
    means = {k: sum(each) / len(each) for k, each in values.items()}
    known = {k: mean for k, mean in means.items() if math.isfinite(mean)}
    axes.plot([k * aside for k in known], list(known.values()), color=colour, linewidth=0.9)


if __name__ == "__main__":
    run_alone("long_range")
