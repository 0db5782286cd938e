"""Style, panels and files of the images."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

BACKGROUND = "#f7f7f4"
INK = "#222222"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
"""Okabe and Ito's, which people with any colour vision tell apart."""
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)))
GREY = "#8a8a85"
PANEL = 3.1
HEIGHT = 2.5
MARGIN_LEFT, MARGIN_RIGHT, MARGIN_BOTTOM = 0.58, 0.12, 0.46
CELL = 16
"""Pixels that a weight takes on either axis, so that no viewer blurs it into its neighbours."""


def set_style() -> None:
    mpl.use("Agg")
    mpl.rcParams.update(
        {
            "figure.facecolor": BACKGROUND,
            "axes.facecolor": "#ffffff",
            "axes.edgecolor": GREY,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": 9.5,
            "axes.labelsize": 9,
            "axes.linewidth": 0.8,
            "text.color": INK,
            "axes.labelcolor": INK,
            "xtick.color": INK,
            "ytick.color": INK,
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
    axes.grid(color="#e4e4e0", linewidth=0.6)
    if len(lines) > 1 or legend:
        axes.legend(title=legend, title_fontsize=8)


def heat_map(axes: Axes, weights: Tensor, *, title: str, xlabel: str = "key j", ylabel: str = "query i") -> None:
    """Weights from 0, white, to 1, dark blue; query 0 on top."""
    n, m = weights.shape
    cells = weights.detach().repeat_interleave(CELL, 0).repeat_interleave(CELL, 1)
    axes.imshow(cells.numpy(), cmap="Blues", vmin=0, vmax=1, extent=(0, m, n, 0), interpolation="none")
    axes.hlines(range(1, n), 0, m, color="#e4e4e0", linewidth=0.4)
    axes.vlines(range(1, m), 0, n, color="#e4e4e0", linewidth=0.4)
    axes.set(title=title, xlabel=xlabel, ylabel=ylabel, aspect="equal", xlim=(0, m), ylim=(n, 0))
    for axis, size in ((axes.xaxis, m), (axes.yaxis, n)):
        marks = sorted({0, size - 1})
        axis.set_ticks([mark + 0.5 for mark in marks], [str(mark) for mark in marks])
        axis.set_tick_params(length=0)


def ranked_maps(maps: Mapping[str, Tensor], values: Sequence[float | Tensor], name: str) -> Figure:
    """Maps side by side, each with the loss that it has."""
    figure, row = panels(len(maps), width=max(2.2, 0.125 * len(f"{name} 00.00")), height=2.6, title_lines=2)
    for axes, (caption, weights), value in zip(row, maps.items(), values, strict=True):
        heat_map(axes, weights, title=f"{caption}\n{name} {_number(float(value))}")
    return figure


def _number(value: float) -> str:
    return f"{value + 0.0:.2f}".replace("-0.00", "0.00")
