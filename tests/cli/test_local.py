"""Scoring in the command's own process."""

from pathlib import Path

import pytest

from tests.cli.conftest import Command, rows_of


def test_this_process_gives_the_numbers_of_a_server(attnloss: Command, url: str, corpus: Path) -> None:
    arguments = ("score", corpus, "--losses", "entropy,sink", "--tokens", "--batch", 100)
    here = rows_of(attnloss(*arguments).stdout)
    there = rows_of(attnloss(*arguments, "--server", url).stdout)
    for mine, other in zip(here, there, strict=True):
        assert mine.keys() == other.keys()
        assert mine["tokens"] == other["tokens"]
        for name in ("loss", "bits_per_byte", "attention_entropy", "attention_sink"):
            assert mine[name] == pytest.approx(other[name], abs=1e-5)
        assert mine["log_probs"][1:] == pytest.approx(other["log_probs"][1:], abs=1e-5)


def test_a_model_that_cannot_be_loaded_is_one_line_and_status_2(attnloss: Command) -> None:
    assert "nowhere could not be loaded" in attnloss.refused("attention", "a", "--model", "/tmp/nowhere")
