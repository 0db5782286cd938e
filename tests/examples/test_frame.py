"""The frame of the examples: results are kept as they come, and numbers find their places in the page."""

import json
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from examples import article, runner
from examples.study import ROOT, Case, Example, Run, append_run, of, read_runs, rounded, spread

MADE = {"commit": "abc1234", "torch": "2", "processor": "slide rule, 1 cores"}


def a_run(seed: int, number: float = 0.5) -> Run:
    return Run({"seed": seed}, {"number": number}, 1.5, MADE)


def an_example() -> Example:
    def findings(runs: Sequence[Run]) -> dict[str, str]:
        return {"mean": spread(of(runs, "number")), "runs": str(len(runs))}

    return cast(Example, SimpleNamespace(__name__="examples.known", findings=findings))


def test_runs_are_read_back_as_they_were_kept(tmp_path: Path) -> None:
    path = tmp_path / "new" / "known.jsonl"
    for seed in range(3):
        append_run(path, a_run(seed))
    assert read_runs(path) == [a_run(seed) for seed in range(3)]
    assert read_runs(path, [{"seed": 1}, {"seed": 7}]) == [a_run(1)]
    assert read_runs(tmp_path / "none.jsonl") == []


def test_a_line_cut_off_by_a_kill_is_left_out_and_written_over(tmp_path: Path) -> None:
    path = tmp_path / "known.jsonl"
    append_run(path, a_run(0))
    with path.open("a") as file:
        file.write('{"case": {"se')
    assert read_runs(path) == [a_run(0)]
    append_run(path, a_run(1))
    assert read_runs(path) == [a_run(0), a_run(1)]


def test_only_cases_without_a_result_are_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing: list[Case] = []

    class Pool:
        def __init__(self, *_: Any, **__: Any) -> None: ...
        def __enter__(self) -> "Pool":
            return self

        def __exit__(self, *_: Any) -> None: ...
        def submit(self, _: Any, name: str, case: Case) -> Any:
            missing.append(case)
            future: Future[Run] = Future()
            future.set_result(Run(case, {"number": 1.0}, 0.1, MADE))
            return future

    cases = [{"seed": seed} for seed in range(4)]
    monkeypatch.setattr(runner, "ProcessPoolExecutor", Pool)
    monkeypatch.setattr(runner, "as_completed", list)
    monkeypatch.setattr(runner, "load", lambda name: SimpleNamespace(cases=lambda *, full: cases))
    append_run(tmp_path / "known.jsonl", a_run(2))
    runner.compute_missing(["known"], tmp_path, full=True, jobs=1)
    assert missing == [{"seed": 0}, {"seed": 1}, {"seed": 3}]
    assert [run.case["seed"] for run in read_runs(tmp_path / "known.jsonl")] == [2, 0, 1, 3]


def test_an_unknown_name_is_refused_in_one_line() -> None:
    command = [sys.executable, "-m", "examples", "formulas"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith(f"no example is named formulas; there are {', '.join(runner.NAMES)}")


def test_numbers_take_the_place_of_the_old_ones_and_nothing_else_changes() -> None:
    line = "a <!-- known: first -->old<!-- end --> b <!-- other: first -->kept<!-- end -->\n"
    page = line + "<!-- known: numbers -->old\n<!-- end -->\nc"
    filled = article.filled(page, an_example(), [a_run(0, 0.25), a_run(1, 0.75)])
    assert filled.startswith("a <!-- known: first -->0.5 (0.25–0.75 of 2)<!-- end --> b <!-- other: first -->kept")
    assert "| mean | 0.5 (0.25–0.75 of 2) |\n| runs | 2 |\n" in filled
    assert "2 runs, 3 seconds of one core: slide rule, 1 cores, torch 2, commit abc1234." in filled
    assert filled.endswith("<!-- end -->\nc")
    assert article.filled(filled, an_example(), [a_run(0, 0.25), a_run(1, 0.75)]) == filled


def test_numbers_are_kept_to_five_digits() -> None:
    assert json.dumps(rounded({"a": [0.123456789, 7], "b": (1.0, "x", True)})) == (
        '{"a": [0.12346, 7], "b": [1.0, "x", true]}'
    )


def test_a_single_value_has_no_spread() -> None:
    assert spread([0.5]) == "0.5"
