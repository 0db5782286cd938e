"""Runs the examples: small sizes in minutes, or what docs/article.md shows in hours.

python -m examples [NAME ...] [--full | --draw] [--jobs N]
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import cast

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from docs.plots import canvas
from examples import article
from examples.study import RESULTS, ROOT, SMALL_RESULTS, Case, Example, Run, append_run, made_with, name_of, read_runs

NAMES = ("formula", "learn_order", "reorder", "score", "translate", "long_range", "collapse")


def load(name: str) -> Example:
    """The example of this name."""
    return cast(Example, import_module(f"examples.{name}"))


def compute(name: str, case: Case) -> Run:
    """One case, in a process of its own."""
    torch.set_num_threads(1)
    example, made = load(name), made_with()
    began_s = time.monotonic()
    return Run(case, example.run(case), round(time.monotonic() - began_s, 1), made)


def compute_missing(names: Sequence[str], folder: Path, *, full: bool, jobs: int) -> None:
    """Run what has no result yet, and keep each result at once."""
    missing: list[tuple[str, Case]] = []
    for name in names:
        wanted = load(name).cases(full=full)
        known = [run.case for run in read_runs(folder / f"{name}.jsonl")]
        missing += [(name, case) for case in wanted if case not in known]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with (
        Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as progress,
        ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool,
    ):
        bar = progress.add_task("examples", total=len(missing))
        futures = {pool.submit(compute, name, case): name for name, case in missing}
        try:
            for future in as_completed(futures):
                run, name = future.result(), futures[future]
                append_run(folder / f"{name}.jsonl", run)
                told = ", ".join(f"{key} {value}" for key, value in run.case.items())
                progress.console.print(f"{name}: {told}: {run.took_s:.0f} s", highlight=False)
                progress.advance(bar)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def tell(example: Example, runs: Sequence[Run], folder: Path) -> None:
    """Print the numbers of an example and draw its figure."""
    path = folder / f"{name_of(example)}.svg"
    path.parent.mkdir(parents=True, exist_ok=True)
    canvas.save(example.figure(runs), path)
    print(f"\n{name_of(example)}")
    for what, number in example.findings(runs).items():
        print(f"  {what}: {number}")
    print(f"  figure: {path.relative_to(ROOT) if path.is_relative_to(ROOT) else path}", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run, or only draw."""
    parser = argparse.ArgumentParser(prog="python -m examples", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; default: all")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--full", action="store_true", help="the results of docs/article.md; goes on where it stopped")
    size.add_argument("--draw", action="store_true", help="redraw figures and page from the results that there are")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="cases at once; default: all cores")
    asked = parser.parse_args(arguments)
    if unknown := set(asked.names) - set(NAMES):
        parser.error(f"no example is named {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    if asked.jobs < 1:
        parser.error(f"argument --jobs: at least 1 is needed, came {asked.jobs}")
    names = asked.names or NAMES
    kept = asked.full or asked.draw
    folder, figures = (RESULTS, article.FIGURES) if kept else (SMALL_RESULTS, SMALL_RESULTS)
    canvas.set_style()
    if not asked.draw:
        compute_missing(names, folder, full=asked.full, jobs=asked.jobs)
    for name in names:
        example = load(name)
        runs = read_runs(folder / f"{name}.jsonl", example.cases(full=kept))
        if not runs:
            sys.exit(f"{name} has no results; run python -m examples {name} --full")
        tell(example, runs, figures)
        if kept:
            article.fill(example, runs)
