"""Renders the figures of a run as Markdown: `python -m tests.chaos.report FILE [--into PAGE]`.

With a page, they take the place of what lies there between the two comments that name them.
"""

import argparse
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path

import psutil

from service.settings import available_cores
from tests.chaos.figures import FILE, read
from tools.machine import commit, processor
from tools.page import put_into

_PACKAGES = ("torch", "numpy", "uvicorn", "fastapi", "pyzmq", "pysimdjson", "orjson")


def render(path: Path) -> str:
    """The machine, the versions and the commit, then a row for each test."""
    versions = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    lines = [
        f"Machine: {processor()}, {available_cores()} cores, {psutil.virtual_memory().total / 2**30:.0f} GiB, "
        f"{platform.system()} {platform.release()}.",
        f"Versions: Python {platform.python_version()}, {versions}. Commit {commit()}.",
        "",
        "| test | figures |",
        "|---|---|",
    ]
    for name, figures in read(path).items():
        told = ", ".join(f"{key} {value}" for key, value in figures.items())
        lines.append(f"| {name} | {told.replace('_', ' ')} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Print the figures, or put them into a page."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.report", description=__doc__)
    parser.add_argument("file", type=Path, nargs="?", default=os.environ.get(FILE))
    parser.add_argument("--into", type=Path, help="the page that holds the figures")
    given = parser.parse_args()
    figures = render(Path(given.file))
    if given.into is None:
        sys.stdout.write(figures)
    else:
        put_into(given.into, figures)


if __name__ == "__main__":
    main()
