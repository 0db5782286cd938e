"""Entropy collapse in a small language model, seen by the probe in training, and what entropy losses do about it.

Claim: when attention collapses onto single keys, training goes wrong, and a loss on its entropy helps (Zhai et al.
2023, Stabilizing Transformer Training by Preventing Attention Entropy Collapse, who prevent it by σReparam instead).
The model is a three-layer Llama of transformers on the characters of Python's own help topics, pydoc_data, whose tail
is held out. Collapse is provoked by ten times a good learning rate of Adam, constant, without warm-up, clipping or
decay.

Against it stand two entropy losses through the probe: a bonus on the mean entropy, and a floor under the mean of each
head; and two remedies without a loss: warm-up, and QK-norm (Henry et al. 2020, Query-Key Normalization for
Transformers), which is all that sets the Qwen3 of transformers apart from its Llama here.

Entropies are shares of the log of the keys that a query may attend to. The yardsticks are models without attention:
the counts of single characters and of pairs. The text differs a little between versions of Python.
"""

import math
import time
from collections.abc import Sequence
from functools import cache
from pydoc_data.topics import topics
from typing import Any, NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional as F
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, Qwen3Config, Qwen3ForCausalLM

from attnloss.probe import AttentionRecord, probe
from docs.plots.canvas import COLOURS, DASHES, GREY, legend_below, panels
from examples.study import Case, Run, of, percent, rounded, run_alone, spread

LAYERS, HEADS, WIDTH, CONTEXT, BATCH = 3, 4, 64, 128, 16
GOOD, HOT = 0.003, 0.03
FLOOR = 0.3
"""The share of its largest entropy below which a head is pushed up."""
WATCHED_EVERY = 10
WATCHED, EXAMINED = 8, 64
"""Held-out pieces of CONTEXT characters, while training and after it."""
NORMALIZED = {"name": "normalized_entropy"}


class Variant(NamedTuple):
    """How a model is trained."""

    label: str
    rate: float = HOT
    warm_up: int = 1
    bonus: float = 0.0
    floor: float = 0.0
    qk_norm: bool = False


VARIANTS = {
    "good": Variant(f"rate {GOOD}", rate=GOOD),
    "hot": Variant(f"rate {HOT}"),
    "bonus": Variant(f"rate {HOT}, entropy bonus", bonus=0.1),
    "floor": Variant(f"rate {HOT}, entropy floor", floor=1.0),
    "warm-up": Variant(f"rate {HOT}, warm-up", warm_up=100),
    "qk-norm": Variant(f"rate {HOT}, QK-norm", qk_norm=True),
}


def cases(*, full: bool) -> list[Case]:
    variants, seeds, steps = (list(VARIANTS), 3, 300) if full else (["good", "hot", "floor"], 1, 80)
    return [{"variant": name, "seed": seed, "steps": steps} for seed in range(seeds) for name in variants]


@cache
def text() -> tuple[Tensor, Tensor, int]:
    """Characters to train on, those held out, and how many different ones there are."""
    whole = "".join(topics[name] for name in sorted(topics))
    places = {each: place for place, each in enumerate(sorted(set(whole)))}
    ids = torch.tensor([places[each] for each in whole])
    cut = len(ids) * 9 // 10
    return ids[:cut], ids[cut:], len(places)


@cache
def yardsticks() -> dict[str, float]:
    """Held-out nats per character of models without attention, with one added to each count."""
    train, held_out, kinds = text()
    single = torch.bincount(train, minlength=kinds).double() + 1
    pairs = torch.bincount(train[:-1] * kinds + train[1:], minlength=kinds**2).double().view(kinds, kinds) + 1
    return {
        "single characters": -(single / single.sum()).log()[held_out].mean().item(),
        "pairs": -(pairs / pairs.sum(1, keepdim=True)).log()[held_out[:-1], held_out[1:]].mean().item(),
    }


def make(variant: Variant) -> PreTrainedModel:
    sizes = {"hidden_size": WIDTH, "intermediate_size": 3 * WIDTH, "head_dim": WIDTH // HEADS}
    counts = {"num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "num_key_value_heads": HEADS}
    rest = {"vocab_size": text()[2], "max_position_embeddings": CONTEXT, "tie_word_embeddings": False}
    if variant.qk_norm:
        return Qwen3ForCausalLM(Qwen3Config(**sizes, **counts, **rest))
    return LlamaForCausalLM(LlamaConfig(**sizes, **counts, **rest))


def of_heads(records: Sequence[AttentionRecord]) -> Tensor:
    """The mean normalized entropy of each head [layers, heads]; the first query has no choice and is left out."""
    return torch.stack([record.losses["normalized_entropy"][:, :, 1:].mean((0, 2)) for record in records])


def objective(model: PreTrainedModel, batch: Tensor, variant: Variant) -> Tensor:
    """The loss of the language model, and the variant's loss on its attention."""
    if not variant.bonus and not variant.floor:
        return model(input_ids=batch, labels=batch).loss
    with probe(model, losses=[NORMALIZED]) as p:
        loss = model(input_ids=batch, labels=batch).loss
        too_low = F.relu(FLOOR - of_heads(p.records)).sum()
        return loss + variant.floor * too_low - variant.bonus * p.loss("normalized_entropy")


def draw(generator: torch.Generator) -> Tensor:
    """A batch of pieces of the text to train on."""
    train = text()[0]
    starts = torch.randint(len(train) - CONTEXT, (BATCH,), generator=generator)
    return train[starts[:, None] + torch.arange(CONTEXT)]


@torch.no_grad()
def watch(model: PreTrainedModel, pieces: int) -> tuple[float, Tensor]:
    """Held-out loss, and the entropy of each head."""
    batch = text()[1][: pieces * CONTEXT].view(pieces, CONTEXT)
    with probe(model, losses=[NORMALIZED]) as p:
        return model(input_ids=batch, labels=batch).loss.item(), of_heads(p.records)


def run(case: Case) -> dict[str, Any]:
    torch.manual_seed(case["seed"])
    generator = torch.Generator().manual_seed(case["seed"])
    variant = VARIANTS[case["variant"]]
    model = make(variant)
    optimizer = torch.optim.Adam(model.parameters(), lr=variant.rate)
    warm_up = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / variant.warm_up))
    curve = []
    for step in range(case["steps"] + 1):
        if step % WATCHED_EVERY == 0:
            held_out, entropy = watch(model, WATCHED)
            curve.append([step, held_out, entropy.min().item(), entropy.mean().item()])
        if not math.isfinite(curve[-1][1]) or step == case["steps"]:
            break
        loss = objective(model, draw(generator), variant)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        warm_up.step()
    held_out, entropy = watch(model, EXAMINED)
    told = {"held_out": held_out, "entropy": entropy.tolist(), "lowest": entropy.min().item(), "curve": curve}
    return rounded(told | {"overhead": overhead(model, draw(generator))}, 4)


def overhead(model: PreTrainedModel, batch: Tensor, pairs: int = 7) -> float:
    """How much longer forward and backward take with the probe's entropy loss than without: median of ratios."""
    ratios = []
    for _ in range(pairs):
        took = []
        for variant in (VARIANTS["hot"], VARIANTS["floor"]):
            began = time.process_time()
            objective(model, batch, variant).backward()
            took.append(time.process_time() - began)
        ratios.append(took[1] / took[0])
    return sorted(ratios)[pairs // 2]


def diverged(result: dict[str, Any]) -> bool:
    """Whether the model is worse than the counts of single characters, or no number at all."""
    return not result["held_out"] < yardsticks()["single characters"]


def findings(runs: Sequence[Run]) -> dict[str, str]:
    shown = {name: [run.result for run in runs if run.case["variant"] == name] for name in VARIANTS}
    shown = {VARIANTS[name].label: results for name, results in shown.items() if results}
    told = {}
    for label, results in sorted(shown.items(), key=lambda each: each[0] != VARIANTS["hot"].label):
        lowest = [result["lowest"] for result in results]
        told[f"entropy of the lowest head at the end, {label}"] = spread(lowest, percent)
    for label, results in shown.items():
        told[f"held-out nats per character, {label}"] = spread([each["held_out"] for each in results], "{:.3f}".format)
    for label, results in shown.items():
        below = [next((step for step, _, low, _ in each["curve"] if low < 0.05), None) for each in results]
        first = [step for step in below if step is not None]
        told[f"seeds with a head below 5 %, {label}"] = f"{len(first)} of {len(results)}" + (
            f", first at step {spread(first, '{:.0f}'.format)}" if first else ""
        )
    for name, nats in yardsticks().items():
        told[f"held-out nats per character, counts of {name}"] = f"{nats:.3f}"
    worse = sum(diverged(run.result) for run in runs)
    told["runs that are worse than counts of single characters, or NaN"] = f"{worse} of {len(runs)}"
    overheads = [each - 1 for each in of(runs, "overhead")]
    told["time that the probe's loss adds to forward and backward"] = spread(overheads, percent)
    return told


def figure(runs: Sequence[Run]) -> Figure:
    drawn, (low, loss, ends) = panels(3, width=3.3, height=3.6, title_lines=2)
    for number, (name, variant) in enumerate(VARIANTS.items()):
        colour, dashes = COLOURS[number], DASHES[number]
        results = [run.result for run in runs if run.case["variant"] == name]
        if not results:
            continue
        for place, axes in ((2, low), (1, loss)):
            seeds = [torch.tensor(each["curve"]) for each in results]
            for each in seeds:
                axes.plot(each[:, 0], each[:, place], color=colour, linewidth=0.6, alpha=0.5)
            shortest = min(len(each) for each in seeds)
            mean = torch.stack([each[:shortest, place] for each in seeds]).mean(0)
            label = variant.label if axes is low else "_"
            axes.plot(seeds[0][:shortest, 0], mean, color=colour, linestyle=dashes, label=label)
        ends.plot(of(runs, "lowest", variant=name), of(runs, "held_out", variant=name), "o", color=colour, markersize=4)
    for axes in (loss, ends):
        axes.axhline(yardsticks()["pairs"], color=GREY, linewidth=0.8, linestyle=":")
    low.axhline(FLOOR, color=GREY, linewidth=0.8, linestyle=":")
    low.set(title="entropy of the lowest head\nshare of its largest", xlabel="step", ylim=(0, 1.02))
    loss.set(title="held-out nats per character\ndotted: counts of pairs", xlabel="step", ylim=(None, 3.6))
    ends.set(title="held-out nats after training\none dot a seed", xlabel="entropy of the lowest head")
    legend_below(drawn, low)
    return drawn


if __name__ == "__main__":
    run_alone("collapse")
