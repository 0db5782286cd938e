"""`attnloss score` against a server: what it reads, writes and refuses."""

import csv
import json
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest

from tests.cli.conftest import Command, rows_of


def test_a_row_has_what_the_server_answers(attnloss: Command, url: str, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "I love programming", "id": 7, "loss": "x"}\n"So do I"\n')
    done = attnloss("score", "a.jsonl", "--server", url, "--tokens", "--losses", "entropy,sink")
    first, second = rows_of(done.stdout)
    body = {"text": "I love programming", "losses": [{"name": "entropy"}, {"name": "sink"}]}
    (answer,) = httpx.post(f"{url}/loss", json=body).json()["results"]
    assert (first["file"], first["line"], first["id"], first["input_loss"]) == ("a.jsonl", 1, 7, "x")
    assert first["text"] == "I love programming"
    for name in ("loss", "perplexity", "bits_per_byte"):
        assert first[name] == pytest.approx(answer[name], rel=1e-5)
    assert first["tokens"] == answer["tokens"]
    assert first["log_probs"] == [None, *(pytest.approx(value, abs=1e-5) for value in answer["log_probs"][1:])]
    assert first["scored_tokens"] == 3
    entropies = [value for layer in answer["layers"] for value in layer["losses"]["entropy"]]
    assert first["attention_entropy"] == pytest.approx(sum(entropies) / len(entropies), rel=1e-5)
    assert 0 < second["attention_sink"] < 1
    assert "error" not in first
    assert done.stderr == "attnloss: 2 scored\n"


def test_a_line_that_cannot_be_scored_gets_a_row_and_fails_alone(attnloss: Command, url: str, tmp_path: Path) -> None:
    long = "word " * 3000
    lines = ['"good"', "{bad", '{"id": 1}', '{"text": 5}', '""', f'"{long}"', "NaN", '"\\ud800"', "", '"also good"']
    (tmp_path / "a.jsonl").write_bytes("\n".join(lines).encode() + b'\n"\xff"\n')
    done = attnloss("score", "a.jsonl", "--server", url, status=1)
    rows = rows_of(done.stdout)
    assert [row["line"] for row in rows] == [1, 2, 3, 4, 5, 6, 7, 8, 10, 11]
    assert ["loss" in row for row in rows] == [True] + [False] * 7 + [True, False]
    told = ["not JSON", "no field 'text'", "a number", "empty", "context", "NaN", "surrogate", "not UTF-8"]
    for words, row in zip(told, [row for row in rows if "error" in row], strict=True):
        assert words in row["error"]
    assert done.stderr == "attnloss: 2 scored, 8 failed\n"


def test_plain_text_comes_from_files_and_standard_input(attnloss: Command, url: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes('\ufeffone line\r\n\r\n{"text": 1}\n'.encode())
    done = attnloss("score", "a.txt", "-", "--no-text", stdin="third — line".encode(), ATTNLOSS_URL=url)
    rows = rows_of(done.stdout)
    assert [(row["file"], row["line"]) for row in rows] == [("a.txt", 1), ("a.txt", 3), ("-", 1)]
    assert all("text" not in row and row["loss"] > 0 for row in rows)
    (alone,) = rows_of(attnloss("score", "-", "-q", stdin=b"one line", ATTNLOSS_URL=url).stdout)
    assert alone["loss"] == pytest.approx(rows[0]["loss"], rel=1e-5)


def test_standard_input_is_jsonl_when_told_so(attnloss: Command, url: str) -> None:
    arguments = ("score", "-", "--input-format", "jsonl", "--field", "body", "--server", url)
    (row,) = rows_of(attnloss(*arguments, stdin=b'{"body": "So do I", "text": "mine"}\n').stdout)
    assert (row["text"], row["input_text"]) == ("So do I", "mine")


def test_csv_and_parquet_hold_the_rows_of_jsonl(attnloss: Command, url: str, tmp_path: Path) -> None:
    source = [{"text": 'a "quoted",\ntext', "id": "x"}, {"text": "plain", "id": 5}, {"id": 6}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(each) + "\n" for each in source))
    for name in ("o.jsonl", "o.csv", "o.parquet"):
        attnloss("score", "a.jsonl", "--server", url, "-o", name, "--losses", "entropy", status=1)
    truth = rows_of((tmp_path / "o.jsonl").read_text())
    with (tmp_path / "o.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    parquet = pq.read_table(tmp_path / "o.parquet").to_pylist()
    assert list(table[0]) == list(parquet[0])
    for row, cells, record in zip(truth, table, parquet, strict=True):
        for name in table[0]:
            value: Any = row.get(name)
            assert cells[name] == ("" if value is None else str(value)) or float(cells[name]) == pytest.approx(value)
            expected = str(value) if name == "id" else value
            assert record[name] == (pytest.approx(value, rel=1e-5) if isinstance(value, float) else expected)


def test_a_long_text_is_cut_or_scored_by_windows(attnloss: Command, url: str) -> None:
    text = b"word " * 3000
    assert (
        rows_of(attnloss("score", "-", "--truncate", stdin=text, ATTNLOSS_URL=url).stdout)[0]["scored_tokens"] == 2047
    )
    assert (
        rows_of(attnloss("score", "-", "--stride", 1024, stdin=text, ATTNLOSS_URL=url).stdout)[0]["scored_tokens"]
        > 2047
    )


def test_usage_and_input_errors_are_one_line_and_status_2(attnloss: Command, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a\n")
    (tmp_path / "there.jsonl").write_text("mine\n")
    assert "nope.txt: No such file" in attnloss.refused("score", "nope.txt")
    assert "--resume" in attnloss.refused("score", "a.txt", "-o", "there.jsonl")
    assert "an input as well" in attnloss.refused("score", "a.txt", "-o", "a.txt", "--force")
    assert "not written by attnloss" in attnloss.refused("score", "a.txt", "-o", "there.jsonl", "--resume")
    assert (tmp_path / "there.jsonl").read_text() == "mine\n"
    assert "-o FILE" in attnloss.refused("score", "a.txt", "--format", "parquet")
    assert "CSV" in attnloss.refused("score", "a.txt", "--format", "csv", "--tokens")
    assert "'nope'" in attnloss.refused("score", "a.txt", "--losses", "nope")
    assert "--baatch" in attnloss.refused("score", "a.txt", "--baatch", 5)
    assert "address" in attnloss.refused("score", "a.txt", "--server", "nonsense")


def test_a_model_that_the_server_has_not_ends_the_run(attnloss: Command, url: str) -> None:
    assert "no model 'gone'" in attnloss.refused("score", "-", "--model", "gone", "--server", url, stdin=b"a")


def test_a_server_that_cannot_be_reached_is_status_3(attnloss: Command, url: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a\n")
    assert "127.0.0.1:9" in attnloss.refused("score", "a.txt", "--server", "http://127.0.0.1:9", status=3)


def test_parquet_without_pyarrow_says_what_to_install(attnloss: Command, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a\n")
    (tmp_path / "pyarrow.py").write_text("raise ImportError")
    told = attnloss.refused("score", "a.txt", "-o", "o.parquet", PYTHONPATH=f"{tmp_path}:{Path(__file__).parents[2]}")
    assert "attnloss[parquet]" in told


def test_a_reader_that_goes_away_ends_the_run_without_a_word(attnloss: Command, url: str, corpus: Path) -> None:
    process = attnloss.start("score", corpus, "--server", url, "--batch", 1, "-q")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(30) == 141
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.communicate()
