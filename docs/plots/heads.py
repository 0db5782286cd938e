"""Images of the losses between heads."""

import torch
from matplotlib.figure import Figure

from attnloss import losses
from docs.plots.canvas import heat_map, panels
from docs.plots.rows import along

QUERIES, KEYS = 4, 8


def _pairs(name: str, pairs: dict[str, tuple[torch.Tensor, torch.Tensor]]) -> Figure:
    """Two heads, one over the other."""
    count = len(pairs)
    figure, grid = panels(count, width=2.2, height=3.0, rows=2, title_lines=2)
    for above, below, (caption, maps) in zip(grid[:count], grid[count:], pairs.items(), strict=True):
        value = getattr(losses, name).from_weights(torch.stack(maps)[None])
        heat_map(above, maps[0], title=f"{caption}\n{name} {value:.2f}", xlabel="", ylabel="head 0")
        heat_map(below, maps[1], title="", ylabel="head 1")
    return figure


def _maps(width: float) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    left = torch.arange(QUERIES)
    here = along(left, KEYS, width)
    return {
        "alike": (here, here),
        "overlapping": (here, along(left + 1, KEYS, width)),
        "apart": (here, along(left + 4, KEYS, width)),
    }


def disagreement() -> Figure:
    return _pairs("disagreement", _maps(0.7))


def orthogonality() -> Figure:
    wide = _maps(1.2)
    sharp = _maps(0.2)
    return _pairs(
        "orthogonality", {"alike, sharp": sharp["alike"], "apart, wide": wide["apart"], "apart, sharp": sharp["apart"]}
    )


FIGURES = {"disagreement": disagreement, "orthogonality": orthogonality}
