"""Can attention learn the order of a sequence, taught by the permutation loss or by its output alone.

Attention without positions is blind to order: whatever order its inputs come in, each gets the same output. But what is
in the inputs may tell their order. Here a sequence is 10 to 20 symbols out of 100 that have a hidden order, shuffled; a
small module without input positions reads them, and asks for the first, the second, … with one query each. Its
attention to the inputs is taught by the permutation loss, its output (weights times values) by cross-entropy to the
symbol that belongs there, or both, from the same seeds with the same steps. (Mena et al. 2018, Learning Latent
Permutations with Gumbel-Sinkhorn Networks, sort with attention too; Vinyals et al. 2016, Order Matters.)
"""

from collections.abc import Sequence
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn import functional as F

from attnloss import attention, losses
from docs.plots.canvas import COLOURS, heat_map, panels
from examples.study import Case, Run, first_step, of, rounded, run_alone, spread

SHORTEST, LONGEST, WIDTH, HEADS, BATCH = 10, 20, 64, 4, 64
VARIANTS = {"permutation": "permutation loss", "output": "cross-entropy of the output", "both": "both"}
HELD_OUT = 2000


def cases(*, full: bool) -> list[Case]:
    size = {"symbols": 100, "steps": 2500} if full else {"symbols": 30, "steps": 250}
    variants, seeds = (list(VARIANTS), 5) if full else (["permutation", "output"], 1)
    return [{"variant": variant, "seed": seed} | size for seed in range(seeds) for variant in variants]


class Block(nn.Module):
    """Attention of one set to another, or to itself, and two layers of each place's own; no positions."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.mix = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.norm, self.norm_after = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.own = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x: Tensor, key_lengths: Tensor) -> Tensor:
        y = self.norm(x)
        heads = [each(y).unflatten(-1, (HEADS, -1)).transpose(1, 2) for each in (self.query, self.key, self.value)]
        attended = attention(*heads, key_lengths=key_lengths, returns=["output"]).output
        x = x + self.mix(attended.transpose(1, 2).flatten(-2))
        return x + self.own(self.norm_after(x))


class Sorter(nn.Module):
    """Symbols in any order → for each place of the sorted sequence, queries and keys of the inputs, and logits."""

    def __init__(self, symbols: int) -> None:
        super().__init__()
        self.symbols, self.places = nn.Embedding(symbols, WIDTH), nn.Embedding(LONGEST, WIDTH)
        self.lengths = nn.Embedding(LONGEST + 1, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(2))
        self.query, self.key = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.ask = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, symbols: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        embedded = self.symbols(symbols)
        x = embedded
        for block in self.blocks:
            x = block(x, lengths)
        places = self.places.weight[: symbols.shape[1]] + self.lengths(lengths)[:, None]
        query, key = self.query(self.ask(places)), self.key(x)
        output = attention(query, key, embedded, key_lengths=lengths, returns=["output"]).output
        return query, key, output @ self.symbols.weight.T


def draw(count: int, hidden: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Shuffled sequences [count, LONGEST], their lengths, and where the symbol of each place lies (0 beyond)."""
    lengths = torch.randint(SHORTEST, LONGEST + 1, (count,), generator=generator)
    chosen = torch.rand(count, len(hidden), generator=generator).argsort(-1)[:, :LONGEST]
    beyond = torch.arange(LONGEST) >= lengths[:, None]
    target = hidden[chosen].masked_fill(beyond, len(hidden)).argsort(-1).masked_fill(beyond, 0)
    return chosen, lengths, target


def objective(model: Sorter, batch: tuple[Tensor, Tensor, Tensor], variant: str) -> Tensor:
    symbols, lengths, target = batch
    query, key, logits = model(symbols, lengths)
    total = torch.zeros(())
    if variant != "output":
        total = total + losses.permutation(query, key, target=target, query_lengths=lengths, key_lengths=lengths)
    if variant != "permutation":
        valid = torch.arange(LONGEST) < lengths[:, None]
        total = total + F.cross_entropy(logits[valid], symbols.gather(1, target)[valid])
    return total


@torch.no_grad()
def measure(model: Sorter, batch: tuple[Tensor, Tensor, Tensor]) -> dict[str, float]:
    """Shares of places whose strongest weight lies on the right input and whose output names the right symbol."""
    symbols, lengths, target = batch
    query, key, logits = model(symbols, lengths)
    valid = torch.arange(LONGEST) < lengths[:, None]
    strongest = attention(query, key, key_lengths=lengths, returns=["top"], top_k=1).top.index[..., 0]
    pointed = (strongest == target) | ~valid
    named = logits.argmax(-1) == symbols.gather(1, target)
    return {
        "pointed": pointed[valid].float().mean().item(),
        "named": named[valid].float().mean().item(),
        "whole": pointed.all(-1).float().mean().item(),
    }


@torch.no_grad()
def blindness(model: Sorter, batch: tuple[Tensor, Tensor, Tensor], generator: torch.Generator) -> dict[str, float]:
    """How much a shuffle of the inputs changes what each of them becomes, and the entropy of attention to them."""
    symbols, lengths, _ = batch
    symbols = symbols[:, :SHORTEST]  # all of them valid
    lengths = torch.full_like(lengths, SHORTEST)
    shuffle = torch.randperm(SHORTEST, generator=generator)
    query, key, _ = model(symbols, lengths)
    query_shuffled, key_shuffled, _ = model(symbols[:, shuffle], lengths)
    entropy, entropy_shuffled = losses.entropy(query, key), losses.entropy(query_shuffled, key_shuffled)
    return {
        "keys": ((key[:, shuffle] - key_shuffled).abs().max() / key.abs().max()).item(),
        "entropy": (entropy - entropy_shuffled).abs().item(),
    }


def run(case: Case) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(case["seed"])
    hidden = torch.randperm(case["symbols"], generator=generator)
    held_out = draw(HELD_OUT, hidden, torch.Generator().manual_seed(10_000 + case["seed"]))
    torch.manual_seed(case["seed"])
    model = Sorter(case["symbols"])
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, case["steps"], pct_start=0.1)
    curve, every = [], max(1, case["steps"] // 40)
    for step in range(case["steps"] + 1):
        if step % every == 0:
            curve.append([step, measure(model, tuple(each[:500] for each in held_out))["pointed"]])
        if step < case["steps"]:
            loss = objective(model, draw(BATCH, hidden, generator), case["variant"])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    told = measure(model, held_out) | {"blind": blindness(model, held_out, generator), "curve": curve}
    return rounded(told | {"map": example_map(model, held_out)})


@torch.no_grad()
def example_map(model: Sorter, batch: tuple[Tensor, Tensor, Tensor]) -> list[list[float]]:
    """Weights of the first held-out sequence; its inputs as if they had come sorted, so that right is the diagonal."""
    symbols, lengths, target = (each[:1] for each in batch)
    query, key, _ = model(symbols, lengths)
    n = int(lengths)
    weights = attention(query[:, :n], key[:, :n], returns=["weights"]).weights[0]
    return [[round(each, 3) for each in row] for row in weights[:, target[0, :n]].tolist()]


def fine(share: float) -> str:
    """A share close to 1 as a percentage with two decimals."""
    return f"{100 * share:.2f} %"


def steps_needed(curves: Sequence[Sequence[Sequence[float]]]) -> str:
    """How many seeds get 99 % of the weights right, and after how many steps."""
    steps = [step for curve in curves if (step := first_step(curve, 0.99)) < float("inf")]
    reached = f"{len(steps)} of {len(curves)} seeds get there"
    return f"{spread(steps, '{:.0f}'.format)}, {reached}" if steps else reached


def findings(runs: Sequence[Run]) -> dict[str, str]:
    told = {}
    for variant, name in VARIANTS.items():
        known = [run for run in runs if run.case["variant"] == variant]
        if known:
            told[f"weights that point to the right symbol, {name}"] = spread(of(known, "pointed"), fine)
            told[f"… {name}, whole sequences"] = spread(of(known, "whole"), fine)
            told[f"… {name}, symbols named by the output"] = spread(of(known, "named"), fine)
            told[f"… {name}, steps until 99 % of the weights are right"] = steps_needed(of(known, "curve"))
    blind = of(runs, "blind")
    told["largest change of an input's key under a shuffle, of the largest key"] = (
        f"{max(each['keys'] for each in blind):.0e}"
    )
    told["largest change of the entropy under a shuffle"] = f"{max(each['entropy'] for each in blind):.0e} nats"
    return told


def figure(runs: Sequence[Run]) -> Figure:
    drawn, (left, *maps) = panels(3, width=3.0, height=2.9, title_lines=2)
    for colour, (variant, label) in zip(COLOURS, VARIANTS.items(), strict=False):
        for number, curve in enumerate(of(runs, "curve", variant=variant)):
            left.plot(*zip(*curve, strict=True), color=colour, linewidth=1, label=label if number == 0 else "_")
    left.set(title="weights that point right\nheld out, every seed", xlabel="step", ylim=(0, 1.02))
    left.legend(loc="center right")
    for axes, variant in zip(maps, ("permutation", "output"), strict=True):
        weights = torch.tensor(of(runs, "map", variant=variant, seed=0)[0])
        heat_map(axes, weights, title=f"{VARIANTS[variant]}\nweights of one sequence", xlabel="input, sorted")
        axes.set_ylabel("place")
    return drawn


if __name__ == "__main__":
    run_alone("learn_order")
