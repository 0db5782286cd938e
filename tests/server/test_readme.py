"""The README, executed: its curl answers what it shows, its Python runs."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from attnloss.kernels import native

README = (Path(__file__).resolve().parents[2] / "README.md").read_text()
EXCHANGES = re.findall(r"```sh\n(curl .*?)```\s*```json\n(.*?)```", README, re.DOTALL)
SNIPPETS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_readme_shows_exchanges_and_snippets() -> None:
    assert len(EXCHANGES) == 4
    assert len(SNIPPETS) == 4


@pytest.mark.parametrize(("command", "shown"), EXCHANGES, ids=["attention", "loss", "text loss", "text attention"])
def test_a_command_of_the_readme_answers_what_it_shows(server, command: str, shown: str) -> None:
    here = command.replace("127.0.0.1:8000", f"127.0.0.1:{server.port}")
    answer = json.loads(subprocess.run(["bash", "-c", here], check=True, capture_output=True, text=True).stdout)
    assert _numbers(answer) == pytest.approx(_numbers(json.loads(shown)), rel=1e-5, abs=1e-6)
    assert answer.keys() == json.loads(shown).keys()
    backend = json.loads(shown).get("backend")
    assert answer.get("backend") == ("chunked" if backend and native.unavailable() else backend)


@pytest.mark.parametrize("snippet", SNIPPETS, ids=["client", "library", "module", "probe"])
def test_a_python_snippet_of_the_readme_runs(server, snippet: str) -> None:
    here = snippet.replace("127.0.0.1:8000", f"127.0.0.1:{server.port}")
    run = subprocess.run([sys.executable, "-W", "error", "-c", here], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout


def _numbers(tree: object) -> list[float]:
    if isinstance(tree, dict):
        return [number for value in tree.values() for number in _numbers(value)]
    if isinstance(tree, list):
        return [number for value in tree for number in _numbers(value)]
    return [float(tree)] if isinstance(tree, (int, float)) else []
