"""One number a head, for all heads of a model."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64, Real
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from attnloss.plot import frame
from attnloss.plot.arrays import Array, as_many, limits_of, numbers, within
from attnloss.plot.heat import pooled
from attnloss.plot.themes import Theme, ink_on, named
from attnloss.plot.tokens import round_steps

_WIDE, _TALL, _LARGEST = 0.46, 0.3, 8.0
"""Inches of a cell that holds a number, and what the grid may measure."""
_MOST_LABELS = 32


def head_grid(
    values: Real[Array, "layers heads"],
    *,
    label: str = "",
    layers: Sequence[int] | None = None,
    heads: Sequence[int] | None = None,
    title: str | None = None,
    limits: tuple[float, float] | None = None,
    theme: str = "light",
    axes: Axes | None = None,
) -> Figure:
    """Draw a statistic or a loss of each head: a row is a layer, a column a head, the first layer on top.

    Args:
        values: [layers, heads].
        label: what the values are, with their unit, beside the colour bar.
        layers: their numbers where not all are given; from 0 if None.
        heads: the same of the heads.
        title: over the grid.
        limits: the values that get the first and the last colour; None is the least and the largest.
        theme: light or dark.
        axes: where to draw; without a colour bar then, and without a figure of its own.

    Numbers stand in the cells as long as the cells have room for them, to the digits that tell the values apart.
    Raises FieldError (a ValueError) naming the argument, what was expected and what came.

    """
    colours, found = named(theme), numbers("values", values, "layers", "heads")
    low, high = limits_of(found, limits)
    if limits is not None:
        within("values", found, low, high, ", the limits")
    names = [_names(*side) for side in (("layers", layers, found.shape[0]), ("heads", heads, found.shape[1]))]
    wide, tall = (min(size * cell, _LARGEST) for size, cell in zip(found.shape[::-1], (_WIDE, _TALL), strict=True))
    wide, tall = max(wide, 1.2), max(tall, 0.9)
    given = axes
    if axes is None:
        left, below = 0.4 + frame.width_of(names[0]), 0.5
        top = frame.MARGIN + (frame.TITLE_ROOM if title else 0.0)
        right = frame.BAR_GAP + frame.BAR_WIDTH + frame.BAR_ROOM
        figure = frame.sheet(left + wide + right, top + tall + below, colours, title=title, left=left)
        axes = frame.box(figure, left, top, wide, tall)
    _cells(axes, found, (low, high), colours)
    for axis, side in ((axes.yaxis, names[0]), (axes.xaxis, names[1])):
        shown = round_steps(len(side), _MOST_LABELS)
        frame.mark(axis, [at + 0.5 for at in shown], [side[at] for at in shown], colours)
    frame.entitle(axes, colours, title, "head", "layer")
    if given is None:
        frame.colour_bar(frame.figure_of(axes), axes, (low, high), label, colours)
    return frame.figure_of(axes)


def _names(field: str, given: Sequence[int] | None, count: int) -> list[str]:
    if given is None:
        return [str(at) for at in range(count)]
    as_many(field, given, count, field.removesuffix("s"))
    return [str(each) for each in given]


def _cells(axes: Axes, values: Float64[np.ndarray, "l h"], limits: tuple[float, float], theme: Theme) -> None:
    rows, columns = values.shape
    low, high = limits
    frame.dress(axes, theme)
    axes.imshow(
        pooled(values), cmap=theme.scale, vmin=low, vmax=high, extent=(0, columns, rows, 0), interpolation="none"
    )
    axes.set(aspect="auto", xlim=(0, columns), ylim=(rows, 0))
    for spine in axes.spines.values():
        spine.set(visible=True, color=theme.grid)
    if max(rows, columns) > _MOST_LABELS:
        return
    for lines, span in ((axes.hlines, rows), (axes.vlines, columns)):
        lines(range(1, span), 0, columns + rows - span, color=theme.background, linewidth=1.0)
    wide, tall = frame.inches(axes)
    shown = _written(values)
    longest = frame.width_of([max(shown, key=len)], frame.SMALL)
    if wide / columns < longest * 1.15 or tall / rows < 0.16:
        return
    for at, text in enumerate(shown):
        row, column = divmod(at, columns)
        share = min(max((values[row, column] - low) / (high - low), 0.0), 1.0)
        colour = ink_on(theme.scale(share)[:3])
        middle = {"x": column + 0.5, "y": row + 0.5, "ha": "center", "va": "center_baseline"}
        axes.text(**middle, s=text, color=colour, **frame.letters(size=frame.SMALL))


def _written(values: Float64[np.ndarray, "l h"]) -> list[str]:
    """Write numbers with as many decimals as tell a hundredth of their span, at least, and no sign before a zero."""
    span = float(values.max() - values.min()) or float(np.abs(values).max()) or 1.0
    decimals = int(min(max(2 - np.floor(np.log10(span)), 0), 4))
    if np.abs(values).max() >= 1e5 or span < 1e-4:
        return [f"{value:.1e}" for value in values.ravel()]
    return [f"{round(value, decimals) + 0.0:.{decimals}f}".replace("-", "−") for value in values.ravel()]
