"""What all examples share: cases, the file that keeps what each came to, and a number with its spread.

An example is a module of four functions: `cases` lists what to run, `run` makes one case's result, `findings` tells
the numbers of all of them, `figure` draws them.
"""

import json
import math
import os
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

from matplotlib.figure import Figure

from tools.machine import commit, processor

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "examples" / "results"
"""The results of `make examples-full`, which docs/article.md shows."""
SMALL_RESULTS = ROOT / "build" / "examples"

Case = dict[str, Any]
"""What is run, as JSON: seed, variant and sizes. Two equal cases give equal results on one machine."""


@dataclass(frozen=True)
class Run:
    """A case and what it came to: numbers, curves and small maps, as JSON."""

    case: Case
    result: dict[str, Any]
    took_s: float
    made: dict[str, str]


class Example(Protocol):
    """A module of this package that is an example."""

    __name__: str

    def cases(self, *, full: bool) -> list[Case]:
        """List what to run; not `full` takes seconds, and shows the same."""

    def run(self, case: Case) -> dict[str, Any]:
        """Compute one case's result, on one thread."""

    def findings(self, runs: Sequence[Run]) -> dict[str, str]:
        """Tell the numbers, the most telling one first."""

    def figure(self, runs: Sequence[Run]) -> Figure:
        """Draw the runs."""


def name_of(example: Example) -> str:
    """The example's name, which its results and its figure bear."""
    return example.__name__.rpartition(".")[2]


def made_with() -> dict[str, str]:
    """Machine, versions and commit of a run that is made now."""
    return {"commit": commit(), "torch": version("torch"), "processor": f"{processor()}, {os.cpu_count()} cores"}


def read_runs(path: Path, cases: Iterable[Case] | None = None) -> list[Run]:
    """The runs of a file, of these cases alone if given; a line that was cut off by a kill is left out."""
    if not path.exists():
        return []
    lines = [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
    runs = [Run(**json.loads(line)) for line in lines]
    wanted = None if cases is None else list(cases)
    return [run for run in runs if wanted is None or run.case in wanted]


def append_run(path: Path, run: Run) -> None:
    """Add a run to the file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = path.read_bytes() if path.exists() else b""
    cut_off = len(whole) - (whole.rfind(b"\n") + 1)
    with path.open("ab") as file:
        if cut_off:
            file.truncate(len(whole) - cut_off)
        file.write((json.dumps(vars(run), ensure_ascii=False) + "\n").encode())
        file.flush()
        os.fsync(file.fileno())


def rounded(values: Any, digits: int = 5) -> Any:
    """Numbers of a nested list, to so many significant digits, so that results stay small files."""
    if isinstance(values, float):
        return float(f"{values:.{digits}g}")
    if isinstance(values, dict):
        return {key: rounded(value, digits) for key, value in values.items()}
    return [rounded(value, digits) for value in values] if isinstance(values, list | tuple) else values


def spread(values: Sequence[float], form: Callable[[float], str] = "{:.3g}".format) -> str:
    """Mean and range: "0.93 (0.91–0.95 of 5)"; a single value alone."""
    mean = form(statistics.fmean(values))
    return mean if len(values) == 1 else f"{mean} ({form(min(values))}–{form(max(values))} of {len(values)})"


def percent(value: float) -> str:
    """A share as a percentage with one decimal."""
    return f"{100 * value:.1f} %"


def of(runs: Iterable[Run], key: str, **case: Any) -> list[Any]:
    """The results under a key of all runs whose cases have these values."""
    return [run.result[key] for run in runs if all(run.case.get(name) == value for name, value in case.items())]


def first_step(curve: Iterable[Sequence[float]], wanted: float) -> float:
    """The first step of a curve of [step, accuracy, …] with at least this accuracy, or infinity."""
    return next((step for step, accuracy, *_ in curve if accuracy >= wanted), math.inf)


def run_alone(name: str) -> None:
    """Run one example by itself: `python -m examples.NAME` takes the arguments of `python -m examples`."""
    from examples.runner import main

    main([name, *sys.argv[1:]])
