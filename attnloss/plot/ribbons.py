"""Which tokens of two texts belong together."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64, Real
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.path import Path

from attnloss.errors import FieldError
from attnloss.plot import frame
from attnloss.plot.arrays import Array, as_many, numbers, within
from attnloss.plot.themes import Theme, named
from attnloss.plot.tokens import thinned

_LINE, _LEAST_TALL, _MOST_TALL, _GAP = 0.235, 0.8, 11.0, 1.9
"""Inches: from token to token, heights of the figure, and what the ribbons cross."""
_THICKEST = 5.0
_ALIKE = 1.5
"""Up to this ratio of their lengths both texts go line by line; beyond it the shorter is stretched to the longer."""


def alignment(
    weights: Real[Array, "n m"],
    source_tokens: Sequence[str],
    target_tokens: Sequence[str],
    *,
    least: float = 0.05,
    title: str | None = None,
    theme: str = "light",
    axes: Axes | None = None,
) -> Figure:
    """Draw source and target side by side, and from each target token a ribbon to what it attends to.

    A ribbon is as thick, and as far from the ground, as its weight. `heat_map(weights, target_tokens,
    key_tokens=source_tokens)` shows the same as a map.

    Args:
        weights: [n, m], each within 0…1: n target tokens that attend to m source tokens.
        source_tokens: m of them, on the left.
        target_tokens: n of them, on the right.
        least: weights below it get no ribbon.
        title: over the picture.
        theme: light or dark.
        axes: where to draw, without a figure of its own; give it room on both sides for the tokens.

    Raises FieldError (a ValueError) naming the argument, what was expected and what came.

    """
    colours, values = named(theme), numbers("weights", weights, "n", "m")
    within("weights", values, 0.0, 1.0)
    n, m = values.shape
    as_many("source_tokens", source_tokens, m, "column of weights")
    as_many("target_tokens", target_tokens, n, "row of weights")
    if not 0 < least <= 1:
        raise FieldError("least", (), f"least must be within 0 < least ≤ 1, got {least}")
    tall = min(max(_LINE * max(n, m), _LEAST_TALL), _MOST_TALL)
    sides = [list(thinned(side, int(_MOST_TALL / _LINE))) for side in (source_tokens, target_tokens)]
    if axes is None:
        left, right = (
            max(frame.width_of([label for _, label in labels]), frame.width_of([name])) + frame.MARGIN + frame.GAP
            for labels, name in zip(sides, ("source", "target"), strict=True)
        )
        top = frame.MARGIN + 0.2 + (frame.TITLE_ROOM if title else 0.0)
        figure = frame.sheet(left + _GAP + right, top + tall + frame.MARGIN, colours, title=title)
        axes = frame.box(figure, left, top, _GAP, tall)
        if title:
            frame.heading(figure, title, colours)
    elif title:
        frame.entitle(axes, colours, title)
    axes.set(xlim=(0, 1), ylim=(1, 0), xticks=[], yticks=[], facecolor=colours.background)
    axes.spines[:].set_visible(False)
    spans = (max(n, m), max(n, m)) if max(n, m) <= _ALIKE * min(n, m) else (m, n)
    _ribbons(axes, values, least, spans, colours)
    for x, ha, labels, span, name in zip((0, 1), ("right", "left"), sides, spans, ("source", "target"), strict=True):
        _column(axes, x, ha, [((at + 0.5) / span, label) for at, label in labels], name, colours)
    return frame.figure_of(axes)


def _ribbons(
    axes: Axes, values: Float64[np.ndarray, "n m"], least: float, spans: tuple[int, int], theme: Theme
) -> None:
    """Draw the weakest first, so that no strong one is under a weak one."""
    targets, sources = np.nonzero(values >= least)
    order = np.argsort(values[targets, sources], kind="stable")
    targets, sources = targets[order], sources[order]
    found = np.clip(values[targets, sources], 0.0, 1.0)
    codes = [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4]
    starts, ends = (sources + 0.5) / spans[0], (targets + 0.5) / spans[1]
    paths = [Path([(0, a), (0.5, a), (0.5, b), (1, b)], codes) for a, b in zip(starts, ends, strict=True)]
    thickest = min(_THICKEST, 300 / max(spans))
    ribbons = PathCollection(
        paths, facecolors="none", edgecolors=theme.scale(found), linewidths=np.maximum(found * thickest, 0.4)
    )
    ribbons.set(capstyle="butt", transform=axes.transData)
    axes.add_collection(ribbons, autolim=False)


def _column(axes: Axes, x: int, ha: str, labels: Sequence[tuple[float, str]], name: str, theme: Theme) -> None:
    away = -5 if x == 0 else 5
    for y, label in labels:
        axes.annotate(
            label,
            (x, y),
            xytext=(away, 0),
            textcoords="offset points",
            ha=ha,
            va="center_baseline",
            color=theme.ink,
            **frame.letters(label),
        )
    style = {"ha": ha, "va": "bottom", "color": theme.muted, **frame.letters(name, size=frame.SMALL)}
    axes.annotate(name, (x, 1.0), xycoords="axes fraction", xytext=(away, 3), textcoords="offset points", **style)
