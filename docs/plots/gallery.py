"""Redraws the images of docs/plots.md by running its snippets, on light and on dark ground.

python -m docs.plots.gallery [--out DIR]
"""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import torch
from matplotlib.figure import Figure

from docs.plots import canvas

DOCS = Path(__file__).resolve().parents[1]
PAGE = DOCS / "plots.md"
IMAGES = DOCS / "images" / "plots"
LIGHT, DARK = 'theme="light"', 'theme="dark"'


def snippets() -> list[str]:
    """The Python of the page; the first makes what the others draw."""
    return re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), flags=re.DOTALL | re.MULTILINE)


def pictures() -> Iterator[tuple[str, Figure]]:
    """Run the page, each snippet that draws once as it stands and once with the other theme."""
    known: dict[str, Any] = {"__name__": "__snippet__"}
    for number, snippet in enumerate(snippets()):
        drawn = re.search(r"^figure = plot\.(\w+)\(", snippet, flags=re.MULTILINE)
        for theme in (LIGHT, DARK) if drawn else (LIGHT,):
            exec(compile(snippet.replace(LIGHT, theme), f"docs/plots.md: snippet {number}", "exec"), known)
            if drawn:
                yield f"{drawn[1]}-{'light' if theme == LIGHT else 'dark'}.svg", known["figure"]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m docs.plots.gallery", description=__doc__)
    parser.add_argument("--out", type=Path, default=IMAGES, help="folder; default: docs/images/plots")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    # Letters as outlines: the boxes of a strip fit the letters of one font, which not every reader has.
    with mpl.rc_context({"svg.hashsalt": "attnloss", "svg.fonttype": "path"}):
        for name, figure in pictures():
            canvas.save(figure, out / name)
            print(f"{name}: {(out / name).stat().st_size / 1024:.0f} KiB", flush=True)


if __name__ == "__main__":
    main()
