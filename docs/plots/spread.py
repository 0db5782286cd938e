"""Images of the losses over how spread the weights are."""

import torch
from matplotlib.figure import Figure

from attnloss import losses
from docs.plots.canvas import curves, heat_map, panels
from docs.plots.rows import KEYS, along, one_strong_key, two_keys, uniform

STRENGTH = torch.linspace(0, 1, 201).double()
STRONGEST = f"weight of one key, the rest shared by {KEYS - 1}"


def entropy() -> Figure:
    figure, (left, *row) = panels(4, width=2.5)
    value = losses.entropy.from_weights(one_strong_key(STRENGTH), reduction="none")
    curves(
        left,
        STRENGTH,
        {"entropy": value},
        title="entropy of one row",
        xlabel=f"weight of 1 of {KEYS} keys",
        ylabel="nats",
    )
    diagonal = torch.arange(KEYS)
    maps = {"one key": along(diagonal, width=0.15), "some keys": along(diagonal, width=1.2), "all keys": uniform()}
    for axes, (caption, weights) in zip(row, maps.items(), strict=True):
        heat_map(axes, weights, title=f"{caption}: {losses.entropy.from_weights(weights):.2f} nats")
    return figure


def normalized_entropy() -> Figure:
    figure, (left, right) = panels(2)
    plain, shares = {}, {}
    for keys in (4, 16, 64):
        rows = one_strong_key(STRENGTH, keys)
        plain[f"{keys} keys"] = losses.entropy.from_weights(rows[1:-1], reduction="none")
        shares[f"{keys} keys"] = losses.normalized_entropy.from_weights(rows[1:-1], reduction="none")
    at = STRENGTH[1:-1]
    curves(left, at, plain, title="entropy: more keys, more of it", xlabel="weight of one key", ylabel="nats")
    curves(right, at, shares, title="normalized_entropy: at most 1", xlabel="weight of one key", ylabel="share")
    return figure


def target_entropy() -> Figure:
    figure, (axes,) = panels(1, width=4.4)
    rows = one_strong_key(STRENGTH)
    lines = {
        f"tau = {tau}": losses.target_entropy.from_weights(rows, tau=tau, reduction="none") for tau in (0.0, 1.0, 1.5)
    }
    curves(axes, STRENGTH, lines, title="target_entropy is 0 where the entropy is tau", xlabel=STRONGEST)
    return figure


def renyi() -> Figure:
    figure, (left, right) = panels(2, width=3.4)
    rows = one_strong_key(STRENGTH)
    lines = {
        f"alpha = {alpha:g}": losses.renyi.from_weights(rows, alpha=alpha, reduction="none")
        for alpha in (0.5, 1.0, 2.0, 8.0)
    }
    curves(left, STRENGTH, lines, title="renyi of one row", xlabel=f"weight of 1 of {KEYS} keys", ylabel="nats")
    orders = torch.linspace(0, 8, 33).double()
    families = {
        "0.6 and seven of 0.057": one_strong_key(torch.tensor([0.6]).double()),
        "0.5 and 0.5": two_keys(torch.tensor([0.5]).double()),
    }
    values = {
        caption: torch.stack([losses.renyi.from_weights(row, alpha=float(order)) for order in orders])
        for caption, row in families.items()
    }
    curves(right, orders, values, title="the order decides which row is wider", xlabel="alpha", ylabel="nats")
    return figure


def collision() -> Figure:
    figure, (axes,) = panels(1, width=4.4)
    rows = one_strong_key(STRENGTH)
    lines = {
        "collision": losses.collision.from_weights(rows, reduction="none"),
        "entropy": losses.entropy.from_weights(rows, reduction="none"),
    }
    curves(axes, STRENGTH, lines, title="collision is never above the entropy", xlabel=STRONGEST, ylabel="nats")
    return figure


def row_sum() -> Figure:
    figure, (axes,) = panels(1, width=4.4)
    rows = one_strong_key(STRENGTH)
    lines = {
        "row_sum": losses.row_sum.from_weights(rows, reduction="none"),
        "entropy": losses.entropy.from_weights(rows, reduction="none"),
    }
    curves(axes, STRENGTH, lines, title="row_sum is 0 for every row", xlabel=STRONGEST)
    return figure


FIGURES = {
    "entropy": entropy,
    "normalized_entropy": normalized_entropy,
    "target_entropy": target_entropy,
    "renyi": renyi,
    "collision": collision,
    "row_sum": row_sum,
}
