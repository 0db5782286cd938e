"""Figures whose parts have their sizes in inches, so that they line up, and text that is only ever text."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.ticker import MaxNLocator

from attnloss.plot.themes import Theme
from attnloss.plot.tokens import drawable, families

SMALL, NORMAL, LARGE = 7.5, 8.5, 10.0
"""Points of the letters."""
MARGIN, GAP = 0.14, 0.08
BAR_GAP, BAR_WIDTH, BAR_ROOM = 0.14, 0.1, 0.62
TITLE_ROOM = 0.32
_MEASURING_DPI = 144


def letters(*texts: str, size: float = NORMAL) -> dict[str, Any]:
    """Give the properties of text: fonts that have it, and neither mathematics nor TeX, whatever it holds."""
    return {"family": families(texts), "size": size, "parse_math": False, "usetex": False}


def width_of(texts: Sequence[str], size: float = NORMAL) -> float:
    """Measure the widest of some texts, in inches."""
    font = FontProperties(family=families(texts), size=size)
    renderer: Any = RendererAgg(1, 1, _MEASURING_DPI)  # type: ignore[no-untyped-call]
    widths = [renderer.get_text_width_height_descent(text, font, ismath=False)[0] for text in texts if text]
    return float(max(widths, default=0.0)) / _MEASURING_DPI


def sheet(width: float, height: float, theme: Theme, *, title: str | None = None, left: float = MARGIN) -> Figure:
    """Make an empty figure, wide enough for its title; it belongs to no pyplot and ends with its last reference."""
    if title:
        width = max(width, left + width_of([drawable(title)], LARGE) + MARGIN)
    figure = Figure(figsize=(width, height), facecolor=theme.background)
    FigureCanvasAgg(figure)
    return figure


def box(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Place axes by their distance from the left and from the top, in inches."""
    wide, tall = figure.get_size_inches()
    return figure.add_axes((left / wide, 1 - (top + height) / tall, width / wide, height / tall))


def figure_of(axes: Axes) -> Figure:
    """Give the figure that axes are in."""
    figure = axes.get_figure(root=True)
    assert figure is not None, "axes that were removed from their figure"
    return figure


def inches(axes: Axes) -> tuple[float, float]:
    """Measure axes: width and height."""
    figure = figure_of(axes)
    extent = axes.get_window_extent()
    return float(extent.width / figure.dpi), float(extent.height / figure.dpi)


def dress(axes: Axes, theme: Theme) -> None:
    """Give axes the colours of a theme, and no more lines than the two at which values are read."""
    axes.set_facecolor(theme.surface)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set(color=theme.line, linewidth=0.8)
    axes.tick_params(which="both", color=theme.line, labelcolor=theme.ink, labelsize=NORMAL, width=0.8, length=2.5)


def entitle(axes: Axes, theme: Theme, title: str | None, x: str = "", y: str = "") -> None:
    """Write title and names of the axes; an empty one leaves what is there."""
    if title:
        shown = drawable(title)
        axes.set_title(shown, loc="left", color=theme.ink, **letters(shown, size=LARGE))
    if x:
        axes.set_xlabel(x, labelpad=6, color=theme.muted, **letters(x))
    if y:
        axes.set_ylabel(y, labelpad=8, color=theme.muted, **letters(y))


def heading(figure: Figure, title: str, theme: Theme) -> None:
    """Write a title at the top left of a figure, over whatever stands there."""
    (width, height), shown = figure.get_size_inches(), drawable(title)
    style = {"va": "top", "color": theme.ink, **letters(shown, size=LARGE)}
    figure.text(MARGIN / width, 1 - MARGIN / height, shown, **style)


def mark(axis: Axis, places: Sequence[float], labels: Sequence[str], theme: Theme, *, size: float = NORMAL) -> None:
    """Put labels without ticks beside an axis."""
    axis.set_ticks(places, labels, color=theme.ink, **letters(*labels, size=size))
    axis.set_tick_params(length=0, pad=3)


def colour_bar(figure: Figure, beside: Axes, limits: tuple[float, float], label: str, theme: Theme) -> None:
    """Draw the scale to the right of axes, as tall as they are."""
    wide, tall = figure.get_size_inches()
    place = beside.get_position()
    tallness = min(place.height, 2.4 / tall)
    frame = (place.x1 + BAR_GAP / wide, place.y1 - tallness, BAR_WIDTH / wide, tallness)
    axes = figure.add_axes(frame, label="colour bar")
    ticks = MaxNLocator(max(1, min(4, int(tallness * tall / 0.2))))
    bar = figure.colorbar(ScalarMappable(Normalize(*limits), theme.scale), cax=axes, ticks=ticks)
    bar.outline.set(edgecolor=theme.line, linewidth=0.6)
    axes.tick_params(length=0, labelsize=SMALL, labelcolor=theme.ink, labelfontfamily=families([""]), pad=2)
    if label:
        axes.set_ylabel(label, color=theme.muted, rotation=270, va="bottom", **letters(label, size=SMALL))
