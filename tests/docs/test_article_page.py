"""docs/article.md tells what the kept results say, and nothing else."""

import re
from pathlib import Path

import pytest

from docs.plots import canvas
from examples import article
from examples.runner import NAMES, load
from examples.study import RESULTS, ROOT, Run, read_runs

PAGE = article.PAGE.read_text()
MOST_IMAGE_BYTES = 250_000
VERDICTS = ("Yes", "No", "In part")


def runs_of(name: str) -> list[Run]:
    return read_runs(RESULTS / f"{name}.jsonl")


@pytest.mark.parametrize("name", NAMES)
def test_every_case_of_an_example_has_its_result_kept(name: str) -> None:
    known = [run.case for run in runs_of(name)]
    assert [case for case in load(name).cases(full=True) if case not in known] == []
    assert len(known) == len(load(name).cases(full=True))


@pytest.mark.parametrize("name", NAMES)
def test_the_numbers_of_an_example_are_those_of_its_results(name: str) -> None:
    assert f"<!-- {name}: numbers -->" in PAGE
    assert f"<!-- {name}: first -->" in PAGE
    assert article.filled(PAGE, load(name), runs_of(name)) == PAGE


@pytest.mark.parametrize("name", NAMES)
def test_the_figure_of_an_example_is_that_of_its_results(name: str, tmp_path: Path) -> None:
    assert f"(images/article/{name}.svg)" in PAGE
    canvas.set_style()
    canvas.save(load(name).figure(runs_of(name)), tmp_path / "drawn.svg")
    kept = article.FIGURES / f"{name}.svg"
    assert (tmp_path / "drawn.svg").read_text() == kept.read_text()
    assert kept.stat().st_size < MOST_IMAGE_BYTES


def test_every_claim_has_its_example_and_a_verdict() -> None:
    summary = PAGE.partition("\n## ")[0]
    rows = [line for line in summary.splitlines() if line.startswith("| ") and "---" not in line][1:]
    assert len(rows) == len(NAMES)
    for name, row in zip(NAMES, rows, strict=True):
        assert f"[{name}.py](../examples/{name}.py)" in row
        assert any(f"**{verdict}" in row for verdict in VERDICTS), row
    sections = re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]
    assert sum(f"examples.{name}" in section for section in sections for name in NAMES) == len(NAMES)


def test_the_commits_of_results_are_clean() -> None:
    assert [run.made for name in NAMES for run in runs_of(name) if "dirty" in run.made["commit"]] == []


def test_the_readme_links_the_page() -> None:
    assert "(docs/article.md)" in (ROOT / "README.md").read_text()
