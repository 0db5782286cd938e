"""Images of the losses over order and alignment."""

import torch
from matplotlib.figure import Figure

from attnloss import losses
from attnloss.alignment import monotonic_path
from attnloss.given import make_given
from docs.plots.canvas import COLOURS, curves, heat_map, panels, ranked_maps
from docs.plots.rows import KEYS, along, bump, uniform

DIAGONAL = torch.arange(KEYS)


def order() -> Figure:
    figure, (left, right) = panels(2, width=3.2)
    centre = torch.linspace(0, KEYS - 1, 141).double()
    rows = bump(centre, 0.6, KEYS)
    target = torch.full_like(centre, 4.0)
    lines = {
        "order": losses.order.from_weights(rows, target=target, reduction="none"),
        "cross_entropy": losses.cross_entropy.from_weights(rows, target=target.long(), kind="index", reduction="none"),
    }
    curves(left, centre, lines, title="a bump on its way over the keys, target 4", xlabel="centre of the bump")
    share = torch.linspace(0, 1, 101).double()
    pair = torch.nn.functional.one_hot(torch.tensor(2), KEYS) * (1 - share[:, None])
    pair = pair + torch.nn.functional.one_hot(torch.tensor(6), KEYS) * share[:, None]
    value = losses.order.from_weights(pair, target=torch.full_like(share, 4.0), reduction="none")
    curves(right, share, {"order": value}, title="weight on keys 2 and 6 balances to 0", xlabel="weight on key 6")
    return figure


def monotonic() -> Figure:
    maps = {
        "forward": along(DIAGONAL),
        "standing still": along(torch.full((KEYS,), 3.0)),
        "one step back": along(torch.tensor([0, 1, 2, 5, 3, 5, 6, 7])),
        "backward": along(DIAGONAL.flip(0)),
    }
    return ranked_maps(maps, [losses.monotonic.from_weights(weights) for weights in maps.values()], "monotonic")


def guided() -> Figure:
    figure, (left, *row) = panels(4, width=2.6, title_lines=2)
    keys = 101
    one_key = torch.eye(keys).double()[:, None]
    offset = torch.arange(keys) / keys
    lines = {
        f"sigma = {sigma:g}": losses.guided.from_weights(one_key, sigma=sigma, reduction="none")[:, 0]
        for sigma in (0.1, 0.2, 0.4, 0.8)
    }
    curves(left, offset, lines, title="cost of one key", xlabel="j/M − i/N")
    left.set_ylim(-0.05, 1.75)
    left.legend(loc="upper center", ncols=2, columnspacing=0.8, handlelength=1.5, fontsize=7)
    maps = {"diagonal": along(DIAGONAL), "all keys": uniform(), "backward": along(DIAGONAL.flip(0))}
    for axes, (caption, weights) in zip(row, maps.items(), strict=True):
        heat_map(axes, weights, title=f"{caption}\nguided {losses.guided.from_weights(weights):.2f}")
    return figure


def permutation() -> Figure:
    wanted = torch.tensor([3, 0, 6, 1, 7, 4, 2, 5])
    wrong = wanted.clone()
    wrong[0] = 6
    maps = {
        "the wanted order": along(wanted, width=0.2),
        "blurred": along(wanted, width=0.6),
        "query 0 on key 6": along(wrong, width=0.9),
        "all keys": uniform(),
    }
    values = [losses.permutation.from_weights(weights, target=wanted) for weights in maps.values()]
    return ranked_maps(maps, values, "permutation")


def forward_sum() -> Figure:
    stairs = torch.arange(KEYS) // 2
    maps = {
        "in order": along(stairs, 4, width=0.25),
        "in order, blurred": along(stairs, 4, width=0.8),
        "all keys": uniform(KEYS, 4),
        "backward": along(stairs.flip(0), 4, width=0.8),
    }
    values = [losses.forward_sum.from_weights(weights) for weights in maps.values()]
    return ranked_maps(maps, values, "forward_sum")


def bin_() -> Figure:
    stairs = torch.tensor([0.2, 0.9, 0.7, 1.6, 2.1, 2.0, 2.6, 3.0])
    maps = {
        "soft": along(stairs, 4, width=0.9),
        "harder": along(stairs, 4, width=0.5),
        "hard": along(stairs.round(), 4, width=0.2),
    }
    figure, row = panels(3, width=2.2, height=2.6, title_lines=2)
    for axes, (caption, weights) in zip(row, maps.items(), strict=True):
        heat_map(axes, weights, title=f"{caption}\nbin {losses.bin.from_weights(weights):.2f}")
        path = monotonic_path(make_given(weights))[0, 0]
        axes.plot(
            path + 0.5, torch.arange(len(path)) + 0.5, color=COLOURS[1], marker="o", markersize=3.5, linewidth=1.2
        )
    return figure


FIGURES = {
    "order": order,
    "monotonic": monotonic,
    "guided": guided,
    "permutation": permutation,
    "forward_sum": forward_sum,
    "bin": bin_,
}
