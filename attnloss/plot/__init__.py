"""Pictures of attention maps, their statistics and a model's surprisal, with matplotlib (the extra `plot`).

Each function takes torch tensors or numpy arrays, and returns a Figure of its own or draws into `axes`. None touches
pyplot, so that nothing stays open: save with `figure.savefig("map.svg")`. `theme` is light or dark.
"""

from importlib import import_module

try:
    import_module("matplotlib")
except ImportError:
    raise ImportError("attnloss.plot needs matplotlib: pip install 'attnloss[plot]'") from None

from attnloss.plot.grid import head_grid
from attnloss.plot.heat import heat_map, heat_maps
from attnloss.plot.layers import entropy_by_layer
from attnloss.plot.ribbons import alignment
from attnloss.plot.strip import surprisal_strip
from attnloss.plot.themes import DARK, LIGHT, Theme

__all__ = [
    "DARK",
    "LIGHT",
    "Theme",
    "alignment",
    "entropy_by_layer",
    "head_grid",
    "heat_map",
    "heat_maps",
    "surprisal_strip",
]
