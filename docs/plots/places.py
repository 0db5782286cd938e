"""Images of the losses over where the weights lie and what keys receive."""

import torch
from matplotlib.figure import Figure

from attnloss import losses
from docs.plots.canvas import curves, panels, ranked_maps
from docs.plots.rows import KEYS, along, bump, uniform

DIAGONAL = torch.arange(KEYS)


def distance() -> Figure:
    maps = {
        "own place": along(DIAGONAL),
        "two to the left": along((DIAGONAL - 2).clamp(min=0)),
        "always the first": along(torch.zeros(KEYS)),
        "all keys": uniform(),
    }
    return ranked_maps(maps, [losses.distance.from_weights(weights) for weights in maps.values()], "distance")


def variance() -> Figure:
    figure, (left, right) = panels(2, width=3.2)
    widths = torch.linspace(0.3, 6, 100).double()
    keys = 48
    row = bump(torch.full_like(widths, (keys - 1) / 2), widths, keys)
    lines = {"variance": losses.variance.from_weights(row, reduction="none"), "width²": widths.square()}
    curves(left, widths, lines, title="one bump", xlabel="width of the bump, tokens", ylabel="tokens²")
    apart = torch.arange(0, 21)
    pairs = (
        torch.nn.functional.one_hot(10 - apart // 2, 32) + torch.nn.functional.one_hot(10 - apart // 2 + apart, 32)
    ) / 2
    values = {
        "variance": losses.variance.from_weights(pairs.double(), reduction="none"),
        "entropy × 20": 20 * losses.entropy.from_weights(pairs.double(), reduction="none"),
    }
    curves(
        right,
        apart,
        values,
        title="half of the weight on each of two keys",
        xlabel="tokens between them",
        ylabel="loss",
    )
    return figure


def sink() -> Figure:
    maps = {}
    for share in (0.0, 0.4, 0.9):
        weights = (1 - share) * along(DIAGONAL, width=0.8).tril()
        weights = weights / weights.sum(-1, keepdim=True) * (1 - share)
        weights[:, 0] += share
        maps[f"{share:.0%} drained to key 0"] = weights
    values = [losses.sink.from_weights(weights, causal=True) for weights in maps.values()]
    return ranked_maps(maps, values, "sink")


def coverage() -> Figure:
    maps = {
        "each key once": along(DIAGONAL, width=0.2),
        "keys repeated": along(torch.tensor([0, 1, 2, 1, 2, 3, 2, 3]), width=0.2),
        "one key only": along(torch.full((KEYS,), 3), width=0.2),
        "all keys": uniform(),
    }
    return ranked_maps(maps, [losses.coverage.from_weights(weights) for weights in maps.values()], "coverage")


def doubly_stochastic() -> Figure:
    maps = {
        "any order": along(torch.tensor([3, 0, 6, 1, 7, 4, 2, 5]), width=0.2),
        "all keys": uniform(),
        "two keys missed": along(torch.tensor([0, 1, 2, 3, 4, 5, 4, 5]), width=0.2),
        "one key only": along(torch.full((KEYS,), 3), width=0.2),
    }
    values = [losses.doubly_stochastic.from_weights(weights) for weights in maps.values()]
    return ranked_maps(maps, values, "doubly_stochastic")


FIGURES = {
    "distance": distance,
    "variance": variance,
    "sink": sink,
    "coverage": coverage,
    "doubly_stochastic": doubly_stochastic,
}
