"""Entropy from the first layer to the last."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64, Real
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from attnloss.errors import FieldError
from attnloss.plot import frame
from attnloss.plot.arrays import Array, as_many, numbers, within
from attnloss.plot.themes import Theme, named
from attnloss.plot.tokens import families, round_steps

_STEP, _TALL = 0.42, 2.3
"""Inches from layer to layer, and of the height."""
_MOST_LABELS = 24


def entropy_by_layer(
    entropy: Real[Array, "layers heads"] | Real[Array, "layers heads n"],
    *,
    keys: int | None = None,
    layers: Sequence[int] | None = None,
    title: str | None = None,
    theme: str = "light",
    axes: Axes | None = None,
) -> Figure:
    """Draw the entropy of each head as a dot above its layer, their mean as a line, their spread as a band.

    Args:
        entropy: [layers, heads], or [layers, heads, n] by query, in nats. A dot is a head's mean over its queries; the
            band holds the middle half of all that is given of a layer.
        keys: how many a query may attend to at most; log of it, which no entropy exceeds, gets a line of its own.
        layers: their numbers where not all are given; from 0 if None.
        title: over the picture.
        theme: light or dark.
        axes: where to draw, without a figure of its own.

    Raises FieldError (a ValueError) naming the argument, what was expected and what came.

    """
    colours = named(theme)
    by_query = len(entropy.shape) == 3
    values = numbers("entropy", entropy, "layers", "heads", *(["n"] if by_query else []))
    highest = _highest(keys)
    within("entropy", values, 0.0, highest, "" if keys is None else f", log {keys}")
    if layers is not None:
        as_many("layers", layers, len(values), "layer")
    names = [str(each) for each in (layers if layers is not None else range(len(values)))]
    if axes is None:
        top, wide = frame.MARGIN + (frame.TITLE_ROOM if title else 0.0), min(max(_STEP * len(values), 2.6), 9.0)
        figure = frame.sheet(0.62 + wide + 0.85, top + _TALL + 0.52, colours, title=title, left=0.62)
        axes = frame.box(figure, 0.62, top, wide, _TALL)
    _draw(axes, values, colours)
    if keys is not None:
        _ceiling(axes, highest, keys, colours)
    shown = round_steps(len(names), _MOST_LABELS)
    frame.mark(axes.xaxis, [float(at) for at in shown], [names[at] for at in shown], colours)
    frame.entitle(axes, colours, title, "layer", "entropy, nats")
    return frame.figure_of(axes)


def _highest(keys: int | None) -> float:
    if keys is None:
        return math.inf
    if keys < 1:
        raise FieldError("keys", (), f"keys must be at least 1, got {keys}")
    return math.log(keys)


def _draw(axes: Axes, values: Float64[np.ndarray, "layers heads *n"], theme: Theme) -> None:
    layers, heads = values.shape[:2]
    at = np.arange(layers)
    each = values.reshape(layers, -1)
    dots = each.reshape(layers, heads, -1).mean(-1)
    low, mean, high = np.quantile(each, 0.25, axis=1), each.mean(1), np.quantile(each, 0.75, axis=1)
    main, accent = theme.accents[0], theme.accents[1]
    frame.dress(axes, theme)
    axes.grid(axis="y", color=theme.grid, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.fill_between(at, low, high, color=main, alpha=0.16, linewidth=0)
    axes.plot(
        np.repeat(at, heads),
        dots.ravel(),
        "o",
        color=main,
        markersize=4.2,
        markeredgecolor=theme.surface,
        markeredgewidth=0.7,
    )
    axes.plot(at, mean, "-" if layers > 1 else "_", color=accent, linewidth=1.8, markersize=16)
    axes.set(xlim=(-0.5, layers - 0.5), ylim=(0, max(float(dots.max()), float(high.max()), 1e-3) * 1.12))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.tick_params(axis="y", labelfontfamily=families([""]))
    ends = {"mean": (mean[-1], accent), "middle half": ((low[-1] + high[-1]) / 2, main)}
    _beside(axes, ends)


def _beside(axes: Axes, ends: dict[str, tuple[float, str]]) -> None:
    """Name lines at their right ends, moved apart where they would touch; no legend has to be looked up."""
    bottom, top = axes.get_ylim()
    apart = 0.075 * (top - bottom)
    labels = sorted(ends, key=lambda name: ends[name][0])
    heights = [ends[name][0] for name in labels]
    heights[1] = max(heights[1], heights[0] + apart)
    for name, height in zip(labels, heights, strict=True):
        _name_at_right(axes, name, height, ends[name][1])


def _ceiling(axes: Axes, highest: float, keys: int, theme: Theme) -> None:
    axes.set_ylim(0, max(highest, 1e-3) * 1.08)
    axes.axhline(highest, color=theme.muted, linewidth=0.9, linestyle=(0, (4, 3)))
    _name_at_right(axes, f"log {keys}", highest, theme.muted)


def _name_at_right(axes: Axes, name: str, height: float, colour: str) -> None:
    axes.annotate(
        name,
        (1.0, height),
        xycoords=("axes fraction", "data"),
        xytext=(5, 0),
        textcoords="offset points",
        va="center",
        color=colour,
        **frame.letters(name, size=frame.SMALL),
    )
