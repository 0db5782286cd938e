"""Help, completion, models and bench; and how progress is told."""

import io
import json

import pytest

from service.cli.bulk.progress import Lines
from tests.cli.conftest import Command


@pytest.mark.parametrize("command", ["serve", "score", "attention", "models", "bench"])
def test_help_teaches_by_examples_a_line_each_and_by_statuses(attnloss: Command, command: str) -> None:
    lines = [line.strip() for line in attnloss(command, "--help").stdout.splitlines()]
    start = lines.index("Examples") + 1
    assert lines[start].startswith("attnloss ")
    assert any(line.startswith("attnloss ") or command in line for line in lines[start + 1 : start + 3])
    assert "Exit status" in lines


def test_the_command_alone_tells_of_its_commands_and_its_version(attnloss: Command) -> None:
    told = attnloss("--help").stdout
    assert all(command in told for command in ("serve", "score", "attention", "models", "bench", "ATTNLOSS_URL"))
    assert attnloss("--version").stdout.startswith("attnloss 0.")
    assert "No such command" in attnloss.refused("scoore")


def test_a_shell_completes_the_name_of_a_command(attnloss: Command) -> None:
    told = attnloss(_ATTNLOSS_COMPLETE="complete_bash", COMP_WORDS="attnloss sc", COMP_CWORD="1").stdout
    assert told.split() == ["score"]


def test_models_are_those_of_the_server_or_those_configured(attnloss: Command, url: str) -> None:
    (entry,) = json.loads(attnloss("models", "--server", url, "--json").stdout)
    assert (entry["name"], entry["layers"], entry["heads"]) == ("default", 6, 3)
    assert "LlamaForCausalLM" in attnloss("models", "--server", url).stdout
    configured = json.loads(attnloss("models", "--json", ATTNLOSS_MODELS="default,my=/models/my").stdout)
    assert configured == [{"name": "default", "source": "default"}, {"name": "my", "source": "/models/my"}]
    assert "ATTNLOSS_MODELS" in attnloss.refused("models", ATTNLOSS_MODELS="a=")
    attnloss.refused("models", "--server", "http://127.0.0.1:9", status=3)


@pytest.mark.parametrize("body", ["json", "binary"])
def test_bench_counts_the_answers_of_a_server(attnloss: Command, url: str, body: str) -> None:
    asked = ("bench", "--server", url, "--seconds", 0.5, "--shape", "2,5,8", "--concurrency", 3, "--body", body)
    told = json.loads(attnloss(*asked, "--json").stdout)
    assert (told["shape"], told["concurrency"], told["failed"]) == ([2, 5, 8], 3, 0)
    assert told["requests"] > 3
    assert told["requests_per_s"] == pytest.approx(told["requests"] / 0.5, rel=0.5)
    assert 0 < told["p50_ms"] <= told["p99_ms"]
    assert told["answer_bytes"] >= 2 * 5 * 8 * 4


def test_bench_tells_refusals_and_silence_by_its_status(attnloss: Command, url: str) -> None:
    done = attnloss("bench", "--server", url, "--seconds", 0.3, "--shape", "99999,1", "--concurrency", 1, status=1)
    assert "413" in done.stdout
    assert "--shape" in attnloss.refused("bench", "--shape", "1")
    assert "127.0.0.1:9" in attnloss.refused("bench", "--server", "http://127.0.0.1:9", status=3)


def test_without_a_terminal_progress_is_a_line_every_ten_seconds() -> None:
    now_s = 0.0
    told = io.StringIO()
    shown = Lines(1000, 200, told, lambda: now_s)
    for _ in range(25):
        now_s += 1
        shown.advance(3, int(200 + 16 * now_s))
    assert told.getvalue().splitlines() == [
        "attnloss: 30 texts, 36% of the input, 3.0 texts/s, 0:40 left",
        "attnloss: 60 texts, 52% of the input, 3.0 texts/s, 0:30 left",
    ]
