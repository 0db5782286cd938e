"""Attention maps."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float64, Real
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from attnloss.errors import FieldError
from attnloss.plot import frame
from attnloss.plot.arrays import Array, as_many, limits_of, numbers, within
from attnloss.plot.themes import Theme, named
from attnloss.plot.tokens import drawable, round_steps, thinned

CELL = 16
"""Pixels that a weight of a small map takes on either axis, so that no viewer blurs it into its neighbours."""
MOST_PIXELS = 1024
"""Of an enlarged map."""
SAFE_PIXELS_PER_INCH = 72
"""A map of no more rows an inch loses none of them to sampling, however coarse the file."""
_FINEST_LINES = 64
_LABEL, _SMALLEST, _LARGEST_MAP = 0.185, 2.0, 7.4
"""Inches: a label with its distance to the next, and what a map may measure."""


def heat_map(
    weights: Real[Array, "n m"],
    tokens: Sequence[str] | None = None,
    *,
    key_tokens: Sequence[str] | None = None,
    title: str | None = None,
    limits: tuple[float, float] | None = (0.0, 1.0),
    label: str = "weight",
    theme: str = "light",
    axes: Axes | None = None,
) -> Figure:
    """Draw a map with query 0 on top: a row is a query, a column a key.

    Args:
        weights: [n, m].
        tokens: n of them, names of the queries; of the keys as well where n = m, unless these have their own.
        key_tokens: m of them.
        title: over the map.
        limits: the values that get the first and the last colour; None is the least and the largest of the map.
        label: what the values are, beside the colour bar.
        theme: light or dark.
        axes: where to draw; without a colour bar then, and without a figure of its own.

    A map of more rows or columns than the picture has room for is drawn as blocks that show their largest weight, so
    that a thin line stays: a long text costs no more than a short one, and an SVG holds an image.
    Raises FieldError (a ValueError) naming the argument, what was expected and what came.

    """
    colours, values = named(theme), numbers("weights", weights, "n", "m")
    low, high = _bounds(values, limits)
    queries, keys = _sides(values.shape, tokens, key_tokens)
    if axes is not None:
        _paint(axes, values, (low, high), colours)
        _name(axes, queries, keys, values.shape, frame.inches(axes), colours)
        frame.entitle(axes, colours, title)
        return frame.figure_of(axes)
    wide, tall = _inches(values.shape)
    left, below = (
        _room(side, size, length)
        for side, size, length in zip((queries, keys), values.shape, (tall, wide), strict=True)
    )
    top = frame.MARGIN + (frame.TITLE_ROOM if title else 0.0)
    right = frame.BAR_GAP + frame.BAR_WIDTH + frame.BAR_ROOM
    figure = frame.sheet(left + wide + right, top + tall + below, colours, title=title, left=left)
    place = frame.box(figure, left, top, wide, tall)
    _paint(place, values, (low, high), colours)
    _name(place, queries, keys, values.shape, (wide, tall), colours)
    frame.entitle(place, colours, title, "key", "query")
    frame.colour_bar(figure, place, (low, high), label, colours)
    return figure


def heat_maps(
    maps: Mapping[str, Real[Array, "_ _"]],
    *,
    columns: int = 4,
    title: str | None = None,
    limits: tuple[float, float] | None = (0.0, 1.0),
    theme: str = "light",
) -> Figure:
    """Draw many maps [n, m] small, row by row, each under its caption, with one scale for all; None spans them all.

    Raises FieldError (a ValueError) naming the argument, what was expected and what came.
    """
    colours = named(theme)
    if not maps or columns < 1:
        raise FieldError("maps", (), f"maps and columns must be at least 1, got {len(maps)} and {columns}")
    found = {caption: numbers(f"maps[{caption!r}]", each, "n", "m") for caption, each in maps.items()}
    low, high = _bounds(np.concatenate([each.ravel() for each in found.values()])[None], limits, "maps")
    columns = min(columns, len(found))
    rows, side, caption_room, gap = -(-len(found) // columns), 1.5, 0.24, 0.14
    top = frame.MARGIN + (frame.TITLE_ROOM if title else 0.0)
    wide = frame.MARGIN + columns * (side + gap) - gap + frame.BAR_GAP + frame.BAR_WIDTH + frame.BAR_ROOM
    figure = frame.sheet(wide, top + rows * (side + caption_room + gap) - gap + frame.MARGIN, colours, title=title)
    for at, (caption, values) in enumerate(found.items()):
        row, column = divmod(at, columns)
        left, above = frame.MARGIN + column * (side + gap), top + row * (side + caption_room + gap) + caption_room
        place = frame.box(figure, left, above, side, side)
        _paint(place, values, (low, high), colours)
        place.set(xticks=[], yticks=[], aspect="auto")
        shown = drawable(caption)
        place.set_title(shown, loc="left", pad=3, color=colours.muted, **frame.letters(shown))
        if at == columns - 1:
            frame.colour_bar(figure, place, (low, high), "weight", colours)
    if title:
        frame.heading(figure, title, colours)
    return figure


def pooled(values: Float64[np.ndarray, "n m"], most: int = MOST_PIXELS) -> Float64[np.ndarray, "r c"]:
    """Bring a map to the pixels of its image: larger cells for a small one, the largest of a block for a large one."""
    for axis in (0, 1):
        size = values.shape[axis]
        if size > most:
            values = np.maximum.reduceat(values, np.arange(most) * size // most, axis=axis)
    cell = min(CELL, max(1, MOST_PIXELS // max(values.shape)))
    return values.repeat(cell, 0).repeat(cell, 1)


def _bounds(
    values: Float64[np.ndarray, "n m"], limits: tuple[float, float] | None, field: str = "weights"
) -> tuple[float, float]:
    low, high = limits_of(values, limits)
    if limits is not None:
        within(field, values, low, high, ", the limits (None takes those of the map)")
    return low, high


def _sides(
    shape: tuple[int, ...], tokens: Sequence[str] | None, key_tokens: Sequence[str] | None
) -> tuple[Sequence[str] | None, Sequence[str] | None]:
    n, m = shape
    if tokens is not None:
        as_many("tokens", tokens, n, "query")
    if key_tokens is None and n == m:
        key_tokens = tokens
    if key_tokens is not None:
        as_many("key_tokens", key_tokens, m, "key")
    return tokens, key_tokens


def _paint(axes: Axes, values: Float64[np.ndarray, "n m"], limits: tuple[float, float], theme: Theme) -> None:
    n, m = values.shape
    low, high = limits
    frame.dress(axes, theme)
    image = pooled(values, max(1, int(max(frame.inches(axes)) * SAFE_PIXELS_PER_INCH)))
    axes.imshow(image, cmap=theme.scale, vmin=low, vmax=high, extent=(0, m, n, 0), interpolation="none")
    if max(n, m) <= _FINEST_LINES:
        axes.hlines(range(1, n), 0, m, color=theme.grid, linewidth=0.4)
        axes.vlines(range(1, m), 0, n, color=theme.grid, linewidth=0.4)
    axes.set(aspect="equal", xlim=(0, m), ylim=(n, 0))
    for spine in axes.spines.values():
        spine.set(visible=True, color=theme.grid, zorder=-1)  # under the image: a sink is often one line at the edge


def _inches(shape: tuple[int, ...]) -> tuple[float, float]:
    """Choose the size of a map: of labels that fit beside each other, if they can, with square cells."""
    n, m = shape
    cell = min(max(_LABEL * 1.25, _SMALLEST / max(n, m)), _LARGEST_MAP / max(n, m))
    return max(m * cell, 0.3), max(n * cell, 0.3)


def _labels(side: Sequence[str] | None, size: int, length: float) -> list[tuple[int, str]]:
    most = max(1, int(length / _LABEL))
    if side is None:
        return [(at, str(at)) for at in round_steps(size, min(most, 6))]
    return list(thinned(side, most))


def _room(side: Sequence[str] | None, size: int, length: float) -> float:
    """Measure what labels and the name of the axis need."""
    return frame.width_of([label for _, label in _labels(side, size, length)]) + frame.MARGIN + 0.3


def _name(
    axes: Axes,
    queries: Sequence[str] | None,
    keys: Sequence[str] | None,
    shape: tuple[int, ...],
    room: tuple[float, float],
    theme: Theme,
) -> None:
    for axis, side, size, length in zip((axes.yaxis, axes.xaxis), (queries, keys), shape, room[::-1], strict=True):
        labels = _labels(side, size, length)
        frame.mark(axis, [at + 0.5 for at, _ in labels], [label for _, label in labels], theme)
        if side is not None and axis is axes.xaxis:
            axes.tick_params(axis="x", labelrotation=90)
