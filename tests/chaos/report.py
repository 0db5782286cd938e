"""Renders the figures of a run as Markdown: `python -m tests.chaos.report [FILE]`."""

import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import psutil

from service.settings import available_cores
from tests.chaos.figures import FILE, read
from tests.serving import ROOT

_PACKAGES = ("torch", "numpy", "uvicorn", "fastapi", "pyzmq", "pysimdjson", "orjson")


def render(path: Path) -> str:
    """The machine, the versions and the commit, then a row for each test."""
    versions = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    lines = [
        f"Machine: {_processor()}, {available_cores()} cores, {psutil.virtual_memory().total / 2**30:.0f} GiB, "
        f"{platform.system()} {platform.release()}.",
        f"Versions: Python {platform.python_version()}, {versions}. Commit {_commit()}.",
        "",
        "| test | figures |",
        "|---|---|",
    ]
    for name, figures in read(path).items():
        lines.append(f"| {name} | {', '.join(f'{key} {value}' for key, value in figures.items())} |")
    return "\n".join(lines) + "\n"


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    names = [line.partition(":")[2].strip() for line in path.read_text().splitlines() if "model name" in line]
    return names[0] if names else platform.machine()


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    given = sys.argv[1:] or [os.environ[FILE]]
    sys.stdout.write(render(Path(given[0])))
