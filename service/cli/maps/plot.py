"""Attention maps as an image, or as a page that needs nothing but itself."""

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from service.cli.failure import CommandFailed
from service.cli.maps.summary import key_tokens, query_tokens
from service.cli.maps.terminal import visible

MOST_IMAGE_MAPS = 64
_MOST_TICKS = 40
_PAGE = Path(__file__).with_name("page.html")


@dataclass(frozen=True)
class Maps:
    """The weights [n, m] of heads, by layer and head, and the tokens along both sides."""

    title: str
    queries: list[str]
    keys: list[str]
    maps: list[tuple[int, int, np.ndarray]]

    @classmethod
    def of(cls, result: dict[str, Any], title: str) -> "Maps":
        """The maps of an answer."""
        found = [
            (layer["layer"], head, np.asarray(weights, np.float32))
            for layer in result["layers"]
            for head, weights in zip(layer["heads"], layer["weights"], strict=True)
        ]
        return cls(title, query_tokens(result), key_tokens(result), found)


def writer(path: Path) -> Callable[[Maps], None]:
    """What writes maps to this file. Raises CommandFailed for an extension or an environment that has none."""
    suffix = path.suffix.lower()
    if not path.parent.is_dir():
        raise CommandFailed(f"{path.parent}: no such directory")
    if suffix == ".html":
        return lambda maps: _write_page(maps, path)
    if suffix not in (".png", ".svg"):
        raise CommandFailed(f"--plot: expected a file that ends in .png, .svg or .html, came {path}")
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise CommandFailed(f"{suffix} needs matplotlib: pip install 'attnloss[plot]', or write .html") from None
    return lambda maps: _write_image(maps, path)


def _write_page(maps: Maps, path: Path) -> None:
    data = {
        "queries": [visible(token) for token in maps.queries],
        "keys": [visible(token) for token in maps.keys],
        "maps": [
            {"layer": layer, "head": head, "weights": [[round(float(w), 4) for w in row] for row in weights]}
            for layer, head, weights in maps.maps
        ],
    }
    embedded = json.dumps(data, separators=(",", ":"))
    for character in "<>&":
        embedded = embedded.replace(character, f"\\u{ord(character):04x}")
    page = _PAGE.read_text(encoding="utf-8").replace("{{title}}", escape(visible(maps.title)))
    path.write_text(page.replace("{{data}}", embedded), encoding="utf-8")


def _write_image(maps: Maps, path: Path) -> None:
    from matplotlib.figure import Figure

    if len(maps.maps) > MOST_IMAGE_MAPS:
        raise CommandFailed(
            f"--plot: {len(maps.maps)} maps do not fit an image: choose by --layer and --head, or .html"
        )
    columns = len({head for _, head, _ in maps.maps})
    rows = -(-len(maps.maps) // columns)
    shows_tokens = len(maps.maps) == 1 and max(len(maps.queries), len(maps.keys)) <= _MOST_TICKS
    size = max(4.0, 0.3 * len(maps.keys) + 2) if shows_tokens else 3.0
    figure = Figure(figsize=(size * columns, size * rows), layout="constrained")
    figure.suptitle(visible(maps.title)[:80], parse_math=False)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for place, (layer, head, weights) in zip(axes, maps.maps, strict=False):
        shown = place.imshow(weights, vmin=0, vmax=1, cmap="magma")
        place.set_title(f"layer {layer}, head {head}", fontsize=9)
        if shows_tokens:
            keys, queries = ([visible(token) for token in side] for side in (maps.keys, maps.queries))
            place.set_xticks(range(len(keys)), keys, rotation=90, parse_math=False)
            place.set_yticks(range(len(queries)), queries, parse_math=False)
        else:
            place.set_xticks([])
            place.set_yticks([])
    figure.colorbar(shown, ax=list(axes), label="weight")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph", UserWarning)  # a script that the font has not is drawn as boxes
        figure.savefig(path, dpi=150)
