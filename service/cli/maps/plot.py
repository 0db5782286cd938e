"""Attention maps as an image, or as a page that needs nothing but itself."""

import json
import logging
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
_LONGEST_TITLE = 80
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


def writer(path: Path, theme: str) -> Callable[[Maps], None]:
    """What writes maps to this file. Raises CommandFailed for an extension, a theme or an environment that has none."""
    suffix = path.suffix.lower()
    if not path.parent.is_dir():
        raise CommandFailed(f"{path.parent}: no such directory")
    if suffix == ".html":
        return lambda maps: _write_page(maps, path)
    if suffix not in (".png", ".svg"):
        raise CommandFailed(f"--plot: expected a file that ends in .png, .svg or .html, came {path}")
    try:
        from attnloss.plot import themes
    except ImportError as error:
        raise CommandFailed(f"{suffix}: {error}, or write .html") from None
    try:
        themes.named(theme)
    except ValueError as error:
        raise CommandFailed(f"--{error}") from None
    return lambda maps: _write_image(maps, path, theme)


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


def _write_image(maps: Maps, path: Path, theme: str) -> None:
    from attnloss import plot

    if len(maps.maps) > MOST_IMAGE_MAPS:
        raise CommandFailed(
            f"--plot: {len(maps.maps)} maps do not fit an image: choose by --layer and --head, or .html"
        )
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)  # which weight of a font it takes is no news
    weights = {f"layer {layer}, head {head}": each for layer, head, each in maps.maps}
    if len(weights) == 1:
        ((title, only),) = weights.items()
        figure = plot.heat_map(only, maps.queries, key_tokens=maps.keys, title=title, theme=theme)
    else:
        columns = len({head for _, head, _ in maps.maps})
        title = visible(maps.title)
        title = title if len(title) <= _LONGEST_TITLE else f"{title[: _LONGEST_TITLE - 1]}…"
        figure = plot.heat_maps(weights, columns=columns, title=title, theme=theme)
    figure.savefig(path, dpi=150)
