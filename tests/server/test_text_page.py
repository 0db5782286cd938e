"""docs/text.md, executed: its bodies are answered by a real server, its Python runs."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.service.text import local

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "text.md").read_text()
BODIES = re.findall(r"^```json (/\w+)\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)
SNIPPETS = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def texts(start_server: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    server = start_server(models=f"default,t5={local.save_t5(tmp_path_factory.mktemp('t5'))}")
    yield server
    assert server.terminate() == 0


def test_the_page_shows_both_endpoints() -> None:
    assert {path for path, _ in BODIES} == {"/attention", "/loss"}
    assert len(BODIES) >= 10
    assert len(SNIPPETS) == 1


@pytest.mark.parametrize(("path", "body"), BODIES, ids=[body[:60] for _, body in BODIES])
def test_a_body_of_the_page_is_answered(texts: Any, path: str, body: str) -> None:
    asked = json.loads(body)
    answer = texts.post(path, asked)
    given = asked["text"] if isinstance(asked["text"], list) else [asked["text"]]
    assert len(answer["results"]) == len(given)
    assert all(result["tokens"] for result in answer["results"])


def test_the_python_of_the_page_runs() -> None:
    run = subprocess.run([sys.executable, "-c", SNIPPETS[0]], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout


def test_every_link_leads_to_a_heading() -> None:
    slugs = {heading.lower().replace(" ", "-") for heading in re.findall(r"^## (.+)$", PAGE, flags=re.MULTILINE)}
    assert set(re.findall(r"\]\(#([^)]+)\)", PAGE)) == slugs
