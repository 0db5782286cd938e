"""Images of the losses that have a target."""

import torch
from matplotlib.figure import Figure
from torch import Tensor

from attnloss import losses
from docs.plots.canvas import curves, panels
from docs.plots.rows import KEYS, one_strong_key

STRENGTH = torch.linspace(0.01, 0.99, 197).double()
LEAD = torch.linspace(-3, 4, 281).double()
"""The score of the target less that of the other keys, which are alike."""
FIRST = torch.zeros(len(LEAD), dtype=torch.int64)


def _with_slope(name: str, lead: Tensor, keys: int = KEYS, **parameters: float) -> tuple[Tensor, Tensor]:
    """The loss against the lead, and its derivative."""
    query = lead[:, None].clone().requires_grad_()
    key = torch.zeros(keys, 1).double()
    key[0] = 1.0
    loss = getattr(losses, name)(query, key, target=FIRST, scale=1.0, reduction="none", **parameters)
    (slope,) = torch.autograd.grad(loss.sum(), query)
    return loss.detach(), slope[:, 0]


def cross_entropy() -> Figure:
    figure, (left, right) = panels(2, width=3.4)
    rows = one_strong_key(STRENGTH)
    first = torch.zeros(len(rows), dtype=torch.int64)
    lines = {
        f"smoothing = {share:g}": losses.cross_entropy.from_weights(
            rows, target=first, kind="index", smoothing=share, reduction="none"
        )
        for share in (0.0, 0.1, 0.3)
    }
    curves(
        left, STRENGTH, lines, title="with a target", xlabel=f"weight of the target, 1 of {KEYS} keys", ylabel="nats"
    )
    lines = {}
    for share in (0.9, 0.5, 0.125):
        probability = one_strong_key(torch.full_like(STRENGTH, share))
        lines[f"its probability {share:g}"] = losses.cross_entropy.from_weights(
            rows, probability=probability, reduction="none"
        )
    curves(
        right, STRENGTH, lines, title="with a probability: straight lines", xlabel="weight of the key", ylabel="nats"
    )
    return figure


def entmax() -> Figure:
    figure, (left, right) = panels(2, width=3.4)
    values, slopes = {}, {}
    values["cross_entropy"], slopes["cross_entropy"] = _with_slope("cross_entropy", LEAD)
    for alpha in (1.2, 1.5, 3.0):
        label = f"entmax {alpha:g}"
        values[label], slopes[label] = _with_slope("entmax", LEAD, alpha=alpha)
    lead = "lead of the target's score"
    curves(left, LEAD, values, title="entmax reaches 0 at a margin", xlabel=lead)
    curves(right, LEAD, slopes, title="and then pulls no more", xlabel=lead, ylabel="slope of the loss")
    return figure


def sparsemax() -> Figure:
    figure, (axes,) = panels(1, width=4.4)
    lines = {name: _with_slope(name, LEAD)[0] for name in ("sparsemax", "cross_entropy")}
    curves(
        axes,
        LEAD,
        lines,
        title="sparsemax is 0 from a lead of 1 on",
        xlabel=f"lead of the target's score over {KEYS - 1} others",
    )
    axes.axvline(1.0, color="#8a8a85", linewidth=0.8)
    return figure


FIGURES = {"cross_entropy": cross_entropy, "entmax": entmax, "sparsemax": sparsemax}
