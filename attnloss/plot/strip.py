"""A text, coloured by how much each token surprises a model."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Real
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from attnloss.errors import FieldError
from attnloss.plot import frame
from attnloss.plot.arrays import Array, as_many, limits_of, numbers, within
from attnloss.plot.themes import Theme, ink_on, named
from attnloss.plot.tokens import MONO, columns, drawable, families, visible

_NATS = {"nats": 1.0, "bits": math.log(2)}
_COLUMN, _LINE, _BOX = 0.088, 0.3, 0.235
"""Inches: a column of letters, a line of text, and the coloured box in it."""
_PADDING = 0.6
"""Columns on both sides of a token within its box, together."""
_NUMBER_LINE, _NUMBER_SIZE, _NUMBER_COLUMN = 0.13, 6.0, 0.056


def surprisal_strip(
    tokens: Sequence[str],
    log_probs: Real[Array, " n"] | Sequence[float | None],
    *,
    unit: str = "nats",
    numbers_below: bool = False,
    line_length: int = 72,
    title: str | None = None,
    limits: tuple[float, float] | None = None,
    theme: str = "light",
    axes: Axes | None = None,
) -> Figure:
    """Write a text with each token on the colour of its surprisal, −log p; the more, the further from the ground.

    Args:
        tokens: n strings; a space is written ␣, and a line ends after a token that ends in a new line.
        log_probs: [n], natural logarithms; None in a list for a token that nothing scores, which gets no colour.
        unit: nats or bits, in which surprisal is told.
        numbers_below: write each surprisal under its token.
        line_length: columns of a line; the text goes on in the next.
        title: over the text.
        limits: the surprisals, in the unit, of the first and the last colour; None is 0 and the largest.
        theme: light or dark.
        axes: where to draw; without a colour bar then, and without a figure of its own.

    Raises FieldError (a ValueError) naming the argument, what was expected and what came.

    """
    colours = named(theme)
    if unit not in _NATS:
        raise FieldError("unit", (), f"unit must be one of {', '.join(_NATS)}; got {unit!r}")
    if line_length < 1:
        raise FieldError("line_length", (), f"line_length must be at least 1, got {line_length}")
    surprisals = _surprisals(log_probs, _NATS[unit])
    as_many("tokens", tokens, len(surprisals), "log_prob")
    known = np.array([each for each in surprisals if each is not None])
    bounds = limits_of(known, limits) if limits else (0.0, float(known.max(initial=0.0)) or 1.0)
    if limits:
        within("surprisal", known, *bounds, ", the limits")
    shown = [drawable(visible(token, max(line_length, 1))) for token in tokens]
    told = [f"{each:.1f}" if each is not None and numbers_below else "" for each in surprisals]
    places, lines = _places(shown, told, [token.endswith("\n") for token in tokens], line_length)
    tall = _LINE + (_NUMBER_LINE if numbers_below else 0.0)
    used = max(left + width for left, _, width in places)
    given = axes
    if axes is None:
        top, height = frame.MARGIN + (frame.TITLE_ROOM if title else 0.0), max(lines * tall, 0.85)
        right = frame.BAR_GAP + frame.BAR_WIDTH + frame.BAR_ROOM
        wide = max(used * _COLUMN, 1.5)
        figure = frame.sheet(2 * frame.MARGIN + wide + right, top + height + frame.MARGIN, colours, title=title)
        axes = frame.box(figure, frame.MARGIN, top, wide, height)
        used, lines = wide / _COLUMN, height / tall  # type: ignore[assignment]
    axes.set(xlim=(0, used), ylim=(lines, 0), xticks=[], yticks=[], facecolor=colours.background)
    axes.spines[:].set_visible(False)
    frame.entitle(axes, colours, title)
    for text, number, place, value in zip(shown, told, places, surprisals, strict=True):
        share = None if value is None else (min(max(value, bounds[0]), bounds[1]) - bounds[0]) / (bounds[1] - bounds[0])
        _write(axes, (text, number), place, share, tall, colours)
    if given is None:
        frame.colour_bar(frame.figure_of(axes), axes, bounds, f"surprisal, {unit}", colours)
    return frame.figure_of(axes)


def _surprisals(log_probs: Real[Array, " n"] | Sequence[float | None], nats: float) -> list[float | None]:
    scored = [True] * len(log_probs)  # type: ignore[arg-type]
    if isinstance(log_probs, Sequence):
        scored = [each is not None for each in log_probs]
        log_probs = np.array([0.0 if each is None else each for each in log_probs], np.float64)
    values = numbers("log_probs", log_probs, "n")
    within("log_probs", values, -math.inf, 0.0)
    return [max(0.0, -value) / nats if known else None for value, known in zip(values.tolist(), scored, strict=True)]


def _places(
    shown: Sequence[str], told: Sequence[str], ends: Sequence[bool], length: int
) -> tuple[list[tuple[float, int, float]], int]:
    """Put tokens side by side and line under line: left end, line and width of each, in columns; and the lines."""
    places: list[tuple[float, int, float]] = []
    left, line = 0.0, 0
    for text, number, last in zip(shown, told, ends, strict=True):
        width = max(columns(text), len(number) * _NUMBER_COLUMN / _COLUMN) + _PADDING
        if left > 0 and left + width > length:
            left, line = 0.0, line + 1
        places.append((left, line, width))
        left += width
        if last:
            left, line = 0.0, line + 1
    return places, places[-1][1] + 1


def _write(
    axes: Axes, texts: tuple[str, str], place: tuple[float, int, float], share: float | None, tall: float, theme: Theme
) -> None:
    """Draw one token in its box; a token without a share of the scale is written in the muted colour of the theme."""
    (text, number), (left, line, width) = texts, place
    middle, height = line + 0.5 * _LINE / tall, _BOX / tall
    colour = theme.muted
    if share is not None:
        ground = theme.scale(share)
        colour = ink_on(ground[:3])
        corner = (left + 0.04, middle - height / 2)
        axes.add_patch(Rectangle(corner, width - 0.08, height, facecolor=ground, edgecolor="none"))
    style = frame.letters(size=frame.NORMAL + 1.5) | {"family": families([text], MONO)}
    axes.text(left + width / 2, middle, text, ha="center", va="center_baseline", color=colour, **style)
    if number:
        below = line + (_LINE + 0.2 * _NUMBER_LINE) / tall
        style = frame.letters(size=_NUMBER_SIZE)
        axes.text(left + width / 2, below, number, ha="center", va="center", color=theme.muted, **style)
