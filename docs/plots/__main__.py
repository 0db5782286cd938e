"""Redraws the images of docs/losses.md.

python -m docs.plots [--out DIR] [--format svg|png] [NAME ...]
"""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from matplotlib.figure import Figure

from docs.plots import canvas, heads, language, order, places, spread, statistics, supervised, two_maps

IMAGES = Path(__file__).resolve().parents[1] / "images" / "losses"
MODULES = (spread, supervised, places, order, two_maps, heads, language, statistics)


def figures() -> Mapping[str, Callable[[], Figure]]:
    return {name: draw for module in MODULES for name, draw in module.FIGURES.items()}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m docs.plots", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="images to draw; default: all")
    parser.add_argument("--out", type=Path, default=IMAGES, help="folder; default: docs/images/losses")
    parser.add_argument("--format", choices=("svg", "png"), default="svg")
    asked = parser.parse_args()
    known = figures()
    if unknown := set(asked.names) - set(known):
        parser.error(f"no image is named {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    torch.set_num_threads(1)
    canvas.set_style()
    asked.out.mkdir(parents=True, exist_ok=True)
    wanted = asked.names or list(known)
    for number, name in enumerate(wanted, 1):
        path = asked.out / f"{name}.{asked.format}"
        torch.manual_seed(0)
        canvas.save(known[name](), path)
        print(f"{number}/{len(wanted)} {path.name}: {path.stat().st_size / 1024:.0f} KiB", flush=True)


if __name__ == "__main__":
    main()
