"""Images of the losses between two maps."""

from functools import partial

import torch
from matplotlib.figure import Figure
from torch import Tensor

from attnloss import losses
from docs.plots.canvas import COLOURS, DASHES, curves, panels
from docs.plots.rows import bump, one_strong_key, two_keys

SHARE = torch.linspace(0.01, 0.99, 197).double()
APART = torch.linspace(0, 12, 121).double()
KEYS = 48
CENTRE = 17.0


def _compared(name: str, *beside: str) -> Figure:
    figure, (left, right) = panels(2, width=3.3)
    names = (name, *beside)
    p, r = two_keys(SHARE), two_keys(torch.full_like(SHARE, 0.2))
    lines = {each: getattr(losses, each).from_weights(p, r, reduction="none") for each in names}
    curves(left, SHARE, lines, title="two keys; R gives key 0 a weight of 0.2", xlabel="weight that P gives key 0")
    p, r = bump(CENTRE + APART, 1.5, KEYS), bump(torch.full_like(APART, CENTRE), 1.5, KEYS)
    lines = {each: getattr(losses, each).from_weights(p, r, reduction="none") for each in names}
    curves(right, APART, lines, title="a bump that moves away from R's", xlabel="tokens between the bumps")
    return figure


def _fits(name: str) -> Figure:
    """What bump comes nearest to a row with two peaks."""
    figure, (left, right) = panels(2, width=3.3)
    lines = {
        each: getattr(losses, each).from_weights(
            two_keys(SHARE), two_keys(torch.full_like(SHARE, 0.2)), reduction="none"
        )
        for each in ("kl", "reverse_kl")
    }
    lines = {name: lines.pop(name), **lines}
    curves(left, SHARE, lines, title="two keys; R gives key 0 a weight of 0.2", xlabel="weight that P gives key 0")
    keys = 32
    peaks = bump(torch.tensor([9.0, 21.0]), torch.tensor([1.6, 2.2]), keys)
    r = (0.55 * peaks[0] + 0.45 * peaks[1]).clamp(min=1e-9)
    r = r / r.sum()
    centres, widths = torch.meshgrid(torch.arange(4, 28, 0.25), torch.arange(1.0, 9.0, 0.25), indexing="ij")
    rows = bump(centres.flatten(), widths.flatten(), keys).clamp(min=1e-12)
    rows = rows / rows.sum(-1, keepdim=True)
    loss = getattr(losses, name).from_weights(rows, r.expand_as(rows).contiguous(), reduction="none")
    right.fill_between(range(keys), r.numpy(), color="#d9d9d4", label="R, two peaks")
    right.plot(rows[loss.argmin()].numpy(), color=COLOURS[0], label=f"bump P of least {name}")
    right.set(title=f"{name}: the best single bump", xlabel="key j", ylabel="weight", ylim=(0, 0.32))
    right.legend()
    return figure


def map_mse() -> Figure:
    """Beside total variation: over two keys, and over more and more of them."""
    figure, (left, right) = panels(2, width=3.3)
    names = ("map_mse", "total_variation")
    p, r = two_keys(SHARE), two_keys(torch.full_like(SHARE, 0.2))
    lines = {each: getattr(losses, each).from_weights(p, r, reduction="none") for each in names}
    curves(left, SHARE, lines, title="two keys; R gives key 0 a weight of 0.2", xlabel="weight that P gives key 0")
    sizes = torch.tensor([2, 4, 8, 16, 32, 64, 128, 256])
    nearly_all = torch.tensor([1 - 1e-6]).double()
    lines = {each: [] for each in names}
    for size in sizes.tolist():
        row = one_strong_key(nearly_all, size)
        for each in names:
            lines[each].append(getattr(losses, each).from_weights(row, row.roll(1, -1)))
    lines = {each: torch.stack(values) for each, values in lines.items()}
    curves(right, sizes, lines, title="P on one key, R on another", xlabel="count of keys, M")
    right.set_xscale("log", base=2)
    return figure


def score_mse() -> Figure:
    figure, (left, right) = panels(2, width=3.3)
    generator = torch.Generator().manual_seed(0)
    query, key = (torch.randn(1, 16, 6, generator=generator).double() for _ in range(2))
    ones = torch.ones(1, 16, 1).double()
    key, other = torch.cat([key, ones], -1), torch.cat([query, 0 * ones], -1)

    def compared(name: str, factors: Tensor, shifts: Tensor) -> Tensor:
        """A batch with one entry for each step."""
        steps = len(factors)
        moved = torch.cat([factors[:, None, None] * query, shifts[:, None, None] * ones], -1)
        first, second = (each.expand(steps, -1, -1) for each in (key, other))
        loss = getattr(losses, name)(moved, first, second, first, scale=0.4, other_scale=0.4, reduction="none")
        return loss.mean(-1)

    shifts, factors = torch.linspace(-3, 3, 41).double(), torch.linspace(0, 3, 41).double()
    names = ("score_mse", "kl")
    lines = {name: compared(name, torch.ones_like(shifts), shifts) for name in names}
    curves(
        left, shifts, lines, title="one number added to all scores of a row", xlabel="number added, before the scale"
    )
    lines = {name: compared(name, factors, torch.zeros_like(factors)) for name in names}
    curves(right, factors, lines, title="all scores multiplied", xlabel="factor")
    return figure


def temperature() -> Figure:
    figure, (left, right) = panels(2, width=3.3)
    generator = torch.Generator().manual_seed(1)
    scores = 3 * torch.randn(12, generator=generator)
    for value, colour, dashes in zip((0.5, 1.0, 2.0, 8.0), COLOURS, DASHES, strict=False):
        left.plot(
            (scores / value).softmax(-1).sort(descending=True).values,
            label=f"temperature = {value:g}",
            color=colour,
            linestyle=dashes,
        )
    left.set(title="what a temperature does to a row", xlabel="keys by weight", ylabel="weight")
    left.legend()
    at = torch.logspace(-0.5, 1.5, 21)
    query, other = torch.ones(1, 1), torch.ones(1, 1)
    close = scores[:, None] + torch.randn(12, 1, generator=generator)
    lines = {
        name: torch.stack(
            [
                getattr(losses, name)(
                    query, scores[:, None], other, close, scale=1.0, other_scale=1.0, temperature=float(t)
                )
                for t in at
            ]
        )
        for name in ("kl", "js", "total_variation")
    }
    curves(right, at, lines, title="and to the divergence of two maps", xlabel="temperature")
    right.set_xscale("log")
    return figure


FIGURES = {
    "kl": partial(_fits, "kl"),
    "reverse_kl": partial(_fits, "reverse_kl"),
    "js": partial(_compared, "js", "kl"),
    "hellinger": partial(_compared, "hellinger", "js"),
    "total_variation": partial(_compared, "total_variation", "hellinger"),
    "map_mse": map_mse,
    "cosine": partial(_compared, "cosine", "total_variation"),
    "score_mse": score_mse,
    "temperature": temperature,
}
