"""Style, panels and files of the images."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from attnloss import plot
from attnloss.plot.heat import CELL
from attnloss.plot.themes import OKABE_ITO as COLOURS

__all__ = ["CELL", "COLOURS", "DASHES", "GREY", "curves", "heat_map", "panels", "ranked_maps", "save", "set_style"]

GREY = plot.LIGHT.line
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)))
PANEL = 3.1
HEIGHT = 2.5
MARGIN_LEFT, MARGIN_RIGHT, MARGIN_BOTTOM = 0.58, 0.12, 0.46


def set_style() -> None:
    mpl.use("Agg")
    mpl.rcParams.update(
        {
            "figure.facecolor": plot.LIGHT.background,
            "axes.facecolor": plot.LIGHT.surface,
            "axes.edgecolor": plot.LIGHT.line,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": 9.5,
            "axes.labelsize": 9,
            "axes.linewidth": 0.8,
            "text.color": plot.LIGHT.ink,
            "axes.labelcolor": plot.LIGHT.ink,
            "xtick.color": plot.LIGHT.ink,
            "ytick.color": plot.LIGHT.ink,
            "xtick.labelsize": 8,
            "ytick.labelsize": 8,
            "legend.fontsize": 8,
            "legend.frameon": False,
            "lines.linewidth": 1.8,
            "font.sans-serif": ["DejaVu Sans", "Verdana", "Helvetica", "Arial", "sans-serif"],
            "svg.hashsalt": "attnloss",
            "svg.fonttype": "none",
        }
    )


def panels(
    count: int, *, width: float = PANEL, height: float = HEIGHT, rows: int = 1, title_lines: int = 1
) -> tuple[Figure, list[Axes]]:
    """Panels row by row, with margins in inches: much faster than a layout that measures every label."""
    figure = Figure(figsize=(width * count, height))
    FigureCanvasAgg(figure)
    inner, label = width - MARGIN_LEFT - MARGIN_RIGHT, MARGIN_BOTTOM
    tall = height / rows - label - 0.12 - 0.16 * title_lines
    grid = figure.subplots(
        rows,
        count,
        squeeze=False,
        gridspec_kw={
            "left": MARGIN_LEFT / (width * count),
            "right": 1 - MARGIN_RIGHT / (width * count),
            "bottom": label / height,
            "top": 1 - (0.12 + 0.16 * title_lines) / height,
            "wspace": (MARGIN_LEFT + MARGIN_RIGHT) / inner,
            "hspace": (height / rows - tall) / tall if rows == 1 else 0.45,
        },
    )
    return figure, list(grid.flat)


def legend_below(figure: Figure, axes: Axes, *, columns: int = 3) -> None:
    """One legend for all panels of a row, under them: the labels of one."""
    handles, labels = axes.get_legend_handles_labels()
    taken = 0.17 * -(-len(labels) // columns) / figure.get_figheight()
    for each in figure.axes:
        box = each.get_position()
        each.set_position((box.x0, box.y0 + taken, box.width, box.height - taken))
    figure.legend(handles, labels, loc="lower center", ncols=columns)


def save(figure: Figure, path: Path) -> None:
    """Write the file; the same figure gives the same bytes."""
    if path.suffix == ".svg":
        figure.savefig(path, metadata={"Date": None, "Creator": None})
        path.write_text("\n".join(line.rstrip() for line in path.read_text().splitlines()) + "\n")
    else:
        figure.savefig(path, dpi=110, metadata={"Software": None})


def curves(
    axes: Axes,
    x: Tensor,
    lines: Mapping[str, Tensor],
    *,
    title: str,
    xlabel: str,
    ylabel: str = "loss",
    legend: str | None = None,
) -> None:
    """Lines over one parameter, told apart by colour and by dashes; a label that starts with _ is left out."""
    for (label, y), colour, dashes in zip(lines.items(), COLOURS, DASHES, strict=False):
        axes.plot(x.numpy(), y.detach().numpy(), label=label, color=colour, linestyle=dashes)
    axes.set(title=title, xlabel=xlabel, ylabel=ylabel)
    axes.grid(color=plot.LIGHT.grid, linewidth=0.6)
    if len(lines) > 1 or legend:
        axes.legend(title=legend, title_fontsize=8)


def heat_map(axes: Axes, weights: Tensor, *, title: str, xlabel: str = "key j", ylabel: str = "query i") -> None:
    """Draw weights from 0, white, to 1, dark blue; query 0 on top."""
    plot.heat_map(weights, axes=axes)
    axes.set(title=title, xlabel=xlabel, ylabel=ylabel)


def ranked_maps(maps: Mapping[str, Tensor], values: Sequence[float | Tensor], name: str) -> Figure:
    """Maps side by side, each with the loss that it has."""
    figure, row = panels(len(maps), width=max(2.2, 0.125 * len(f"{name} 00.00")), height=2.6, title_lines=2)
    for axes, (caption, weights), value in zip(row, maps.items(), values, strict=True):
        heat_map(axes, weights, title=f"{caption}\n{name} {_number(float(value))}")
    return figure


def _number(value: float) -> str:
    return f"{value + 0.0:.2f}".replace("-0.00", "0.00")
