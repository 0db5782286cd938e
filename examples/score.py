"""Does the self-attention loss score a model, or a text? Against the token loss, with damaged copies of a model.

The article offers the loss as a measure of how well a model does. A measure of a model should be better for a better
model, so the default model is damaged step by step: noise of some share of each weight matrix's own spread is added to
it. The token loss of plain sentences tells how much worse that made it; the question is whether the entropy of its
attention, which is the article's loss, tells the same. A measure of a text should prefer a sentence to the same words
shuffled, so every sentence is scored beside a shuffle of it, by both.
"""

import random
from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils.logging import disable_progress_bar

from attnloss.probe import probe
from docs.plots.canvas import COLOURS, GREY, panels
from examples.formula import MODEL
from examples.reorder import sentences, shuffled
from examples.study import Case, Run, of, percent, rounded, run_alone, spread

NOISES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8)


def cases(*, full: bool) -> list[Case]:
    noises, seeds, count = (NOISES, 5, 112) if full else ((0.0, 0.3, 0.8), 1, 20)
    return [{"noise": noise, "seed": seed, "sentences": count} for noise in noises for seed in range(seeds)]


def damage(model: nn.Module, noise: float, generator: torch.Generator) -> None:
    """Add normal noise to every matrix, of this share of its own standard deviation."""
    with torch.no_grad():
        for weights in model.parameters():
            if weights.ndim == 2:
                weights += noise * weights.std() * torch.randn(weights.shape, generator=generator)


@torch.no_grad()
def scores(model: nn.Module, batches: Iterable[torch.Tensor]) -> tuple[list[float], list[float]]:
    """Nats a token and the mean entropy of all heads, of each text [1, tokens]."""
    nats, entropies = [], []
    with probe(model, losses=[{"name": "entropy"}]) as p:
        for ids in batches:
            nats.append(model(input_ids=ids, labels=ids).loss.item())
            entropies.append(p.loss("entropy").item())
    return nats, entropies


def run(case: Case) -> dict[str, Any]:
    disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    model = AutoModelForCausalLM.from_pretrained(MODEL).eval()
    damage(model, case["noise"], torch.Generator().manual_seed(case["seed"]))
    given = sentences(case["sentences"])
    generator = random.Random(case["seed"])
    others = [shuffled(text, generator) for text in given]
    both = [tokenizer(text, return_tensors="pt")["input_ids"] for text in (*given, *others)]
    nats, entropies = (np.array(each).reshape(2, -1) for each in scores(model, both))
    return rounded(
        {
            "nats": nats[0].mean().item(),
            "entropy": entropies[0].mean().item(),
            "loss prefers": (nats[0] < nats[1]).mean().item(),
            "entropy prefers": (entropies[0] < entropies[1]).mean().item(),
            "per text": np.corrcoef(nats[0], entropies[0])[0, 1].item(),
        }
    )


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> float:
    """Spearman's, for values without ties."""
    ranks = [np.argsort(np.argsort(each)) for each in (x, y)]
    return float(np.corrcoef(*ranks)[0, 1])


def noises_of(runs: Sequence[Run]) -> list[float]:
    return sorted({run.case["noise"] for run in runs})


def findings(runs: Sequence[Run]) -> dict[str, str]:
    steps = noises_of(runs)
    seeds = sorted({run.case["seed"] for run in runs})
    along = [rank_correlation(of(runs, "nats", seed=seed), of(runs, "entropy", seed=seed)) for seed in seeds]
    told = {
        "rank correlation of entropy with token loss over ever more damaged copies": spread(along, "{:.2f}".format),
        "sentences preferred to their shuffles by token loss": spread(of(runs, "loss prefers", noise=0.0), percent),
        "… by the entropy (chance 50 %)": spread(of(runs, "entropy prefers", noise=0.0), percent),
        "correlation of entropy with token loss over sentences": f"{of(runs, 'per text', noise=0.0)[0]:.2f}",
    }
    for noise in steps:
        nats, entropy = (fmean(of(runs, key, noise=noise)) for key in ("nats", "entropy"))
        told[f"noise of {noise:g}: token loss, entropy"] = f"{nats:.2f}, {entropy:.3f} nats"
    return told


def figure(runs: Sequence[Run]) -> Figure:
    drawn, (left, right) = panels(2, width=4.2, height=3.0)
    for key, colour, label in (("nats", COLOURS[0], "token loss"), ("entropy", COLOURS[1], "entropy of attention")):
        (intact, *_) = of(runs, key, noise=0.0)
        for number, seed in enumerate(sorted({run.case["seed"] for run in runs})):
            values = [of(runs, key, noise=noise, seed=seed)[0] / intact for noise in noises_of(runs)]
            left.plot(noises_of(runs), values, color=colour, linewidth=1, label="_" if number else label)
    left.axhline(1, color=GREY, linestyle=":")
    left.set(title="both, of the undamaged model's", xlabel="noise, of each matrix's spread", ylabel="ratio")
    left.legend()
    for key, colour, label in (("loss prefers", COLOURS[0], "token loss"), ("entropy prefers", COLOURS[1], "entropy")):
        right.scatter([run.case["noise"] for run in runs], of(runs, key), color=colour, s=14, label=label)
    right.axhline(0.5, color=GREY, linestyle=":", label="chance")
    right.set(title="sentences preferred to their shuffles", xlabel="noise", ylabel="share", ylim=(0, 1.02))
    right.legend(loc="lower left")
    return drawn


if __name__ == "__main__":
    run_alone("score")
