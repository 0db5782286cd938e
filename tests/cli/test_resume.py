"""Runs that end half-way, and what --resume makes of them."""

import csv
import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.cli.conftest import Command, rows_of


def jsonl(path: Path) -> list[dict[str, Any]]:
    return rows_of(path.read_text())


def table(path: Path) -> list[dict[str, Any]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def parts(path: Path) -> list[dict[str, Any]]:
    return list(pq.read_table(path).to_pylist())


READERS: dict[str, Callable[[Path], list[dict[str, Any]]]] = {"o.jsonl": jsonl, "o.csv": table, "o.parquet": parts}


def size(path: Path) -> int:
    if path.is_dir():
        return 4000 * len(list(path.glob("part-*.parquet")))
    return path.stat().st_size if path.exists() else 0


def interrupt(attnloss: Command, number: int, path: Path, *arguments: Any) -> tuple[int, str]:
    """Start a run and send it a signal once it has written some rows; its status and its last words."""
    process = attnloss.start("score", *arguments, "-o", path, "--batch", 1, "--concurrency", 2, "--part-rows", 5)
    give_up_s = time.monotonic() + 40
    while size(path) < 4000:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < give_up_s
        time.sleep(0.005)
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    return process.returncode, err.decode()


def assert_same(rows: list[dict[str, Any]], whole: list[dict[str, Any]]) -> None:
    assert [(row["file"], int(row["line"]), row["text"]) for row in rows] == [
        (row["file"], int(row["line"]), row["text"]) for row in whole
    ]
    assert [float(row["loss"]) for row in rows] == pytest.approx([float(row["loss"]) for row in whole], rel=1e-5)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, url: str, corpus: Path) -> list[dict[str, Any]]:
    """What an uninterrupted run writes."""
    attnloss = Command(tmp_path_factory.mktemp("whole"))
    return rows_of(attnloss("score", corpus, "--server", url).stdout)


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("o.jsonl", signal.SIGKILL),
        ("o.csv", signal.SIGKILL),
        ("o.parquet", signal.SIGKILL),
        ("o.parquet", signal.SIGINT),
    ],
)
def test_a_resumed_run_has_the_rows_of_an_uninterrupted_one(
    attnloss: Command,
    url: str,
    corpus: Path,
    whole: list[dict[str, Any]],
    tmp_path: Path,
    name: str,
    number: signal.Signals,
) -> None:
    path = tmp_path / name
    status, told = interrupt(attnloss, number, path, corpus, "--server", url)
    assert status == (130 if number == signal.SIGINT else -signal.SIGKILL)
    assert ("--resume" in told) == (number == signal.SIGINT)
    before = len(READERS[name](path)) if name == "o.parquet" or number == signal.SIGINT else 1
    assert 0 < before < 100
    attnloss("score", corpus, "-o", path, "--server", url, "--resume")
    assert_same(READERS[name](path), whole)


def test_a_run_in_this_process_stops_at_ctrl_c_and_goes_on_through_a_server(
    attnloss: Command, url: str, corpus: Path, whole: list[dict[str, Any]], tmp_path: Path
) -> None:
    path = tmp_path / "o.jsonl"
    status, told = interrupt(attnloss, signal.SIGINT, path, corpus)
    assert status == 130
    assert told.startswith("attnloss: interrupted, ")
    before = path.read_bytes()
    assert before.endswith(b"}\n")
    attnloss("score", corpus, "-o", path, "--resume", "--server", url)
    assert path.read_bytes().startswith(before)
    assert_same(jsonl(path), whole)


@pytest.mark.parametrize("name", ["o.jsonl", "o.csv"])
def test_a_half_written_last_row_is_dropped(attnloss: Command, url: str, tmp_path: Path, name: str) -> None:
    texts = ["first", 'a "quote"\nand a line', "third\nwith lines", "fourth"]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(text) + "\n" for text in texts))
    path = tmp_path / name
    attnloss("score", "a.jsonl", "-o", path, "--server", url)
    whole = READERS[name](path)
    written = path.read_bytes()
    for cut in (1, len(written) // 2):
        path.write_bytes(written[:-cut])
        attnloss("score", "a.jsonl", "-o", path, "--server", url, "--resume")
        assert_same(READERS[name](path), whole)


def test_an_output_of_other_inputs_is_not_continued(attnloss: Command, url: str, tmp_path: Path) -> None:
    for name, text in (("a.txt", "one\ntwo\n"), ("b.txt", "one\ntwo\n"), ("short.txt", "one\n")):
        (tmp_path / name).write_text(text)
    resume = ("-o", "o.jsonl", "--server", url, "--resume")
    attnloss("score", "a.txt", *resume)
    written = (tmp_path / "o.jsonl").read_bytes()
    assert "line 2 of a.txt" in attnloss.refused("score", "b.txt", *resume)
    assert "only 1 lines" in attnloss.refused("score", "short.txt", *resume)
    (tmp_path / "a.txt").write_text("one\nother\n")
    assert "another text" in attnloss.refused("score", "a.txt", *resume)
    assert (tmp_path / "o.jsonl").read_bytes() == written


def test_force_replaces_an_output_but_no_strange_directory(attnloss: Command, url: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n")
    force = ("-o", "o.parquet", "--server", url, "--force")
    attnloss("score", "a.txt", *force)
    attnloss("score", "a.txt", *force)
    assert len(parts(tmp_path / "o.parquet")) == 1
    (tmp_path / "o.parquet" / "diary").write_text("mine")
    assert "diary" in attnloss.refused("score", "a.txt", *force)
    assert (tmp_path / "o.parquet" / "diary").read_text() == "mine"
