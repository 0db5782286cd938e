"""The README, executed: its curl answers what it shows, its Python runs."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from attnloss.kernels import native

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
EXCHANGES = re.findall(r"```sh\n(curl .*?)```\s*```json\n(.*?)```", README, re.DOTALL)
SNIPPETS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_readme_shows_exchanges_and_snippets() -> None:
    assert len(EXCHANGES) == 4
    assert len(SNIPPETS) == 6


@pytest.mark.parametrize(("command", "shown"), EXCHANGES, ids=["attention", "loss", "text loss", "text attention"])
def test_a_command_of_the_readme_answers_what_it_shows(server, command: str, shown: str) -> None:
    here = command.replace("127.0.0.1:8000", f"127.0.0.1:{server.port}")
    answer = json.loads(subprocess.run(["bash", "-c", here], check=True, capture_output=True, text=True).stdout)
    assert _numbers(answer) == pytest.approx(_numbers(json.loads(shown)), rel=1e-5, abs=1e-6)
    assert answer.keys() == json.loads(shown).keys()
    backend = json.loads(shown).get("backend")
    assert answer.get("backend") == ("chunked" if backend and native.unavailable() else backend)


@pytest.mark.parametrize("snippet", SNIPPETS, ids=["client", "tritonclient", "openai", "library", "module", "probe"])
def test_a_python_snippet_of_the_readme_runs(server, snippet: str) -> None:
    here = snippet.replace("127.0.0.1:8000", f"127.0.0.1:{server.port}")
    run = subprocess.run([sys.executable, "-W", "error", "-c", here], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout


def run_command(server, command: str, cwd: Path, home: Path) -> str:
    """What a command of the README prints, with the programs of this environment and without a network."""
    here = command.replace("127.0.0.1:8000", f"127.0.0.1:{server.port}")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    offline = {"PATH": path, "HF_HOME": str(home / "hub"), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    run = subprocess.run(["bash", "-c", here], capture_output=True, text=True, cwd=cwd, env=os.environ | offline)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def test_lm_eval_of_the_readme_scores_its_task(server, tmp_path: Path) -> None:
    (command,) = re.findall(r"```sh\n(cd tests/clients/tasks\nlm_eval .*?)```", README, re.DOTALL)
    assert "local_choices" in run_command(server, command.strip() + " --limit 4", ROOT, tmp_path)


def test_the_command_line_of_the_readme_scores_and_draws(server, tmp_path: Path) -> None:
    (commands,) = re.findall(r"```sh\n(attnloss score .*?)```", README, re.DOTALL)
    (tmp_path / "texts.jsonl").write_text('{"text": "I love programming"}\n{"text": "programming love I"}\n')
    run_command(server, "set -e; " + commands, tmp_path, tmp_path)
    assert len((tmp_path / "losses.csv").read_text().splitlines()) == 3
    assert "programming" in (tmp_path / "map.html").read_text()


def _numbers(tree: object) -> list[float]:
    if isinstance(tree, dict):
        return [number for value in tree.values() for number in _numbers(value)]
    if isinstance(tree, list):
        return [number for value in tree for number in _numbers(value)]
    return [float(tree)] if isinstance(tree, (int, float)) else []
