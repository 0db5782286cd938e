"""The command as a process, and a server for it to ask."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.serving import ROOT, server_starter

WORDS = ("the", "service", "sorts", "its queue", "once a second", "and", "you can", "use", "this function")


class Command:
    """Runs `attnloss`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def start(self, *arguments: Any, stdout: int = subprocess.PIPE, **environment: str) -> subprocess.Popen[bytes]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ATTNLOSS_", "_ATTNLOSS"))}
        paths = {"PYTHONPATH": str(ROOT), "COLUMNS": "100"}
        return subprocess.Popen(
            [sys.executable, "-m", "service.cli", *map(str, arguments)],
            cwd=self.directory,
            env=kept | paths | environment,
            stdin=subprocess.PIPE,
            stdout=stdout,
            stderr=subprocess.PIPE,
        )

    def __call__(
        self, *arguments: Any, stdin: bytes = b"", status: int = 0, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments, **environment)
        try:
            out, err = process.communicate(stdin, timeout=60)
        finally:
            process.kill()
        done = subprocess.CompletedProcess(arguments, process.returncode, out.decode(), err.decode())
        assert done.returncode == status, (done.returncode, done.stdout[-500:], done.stderr)
        assert "Traceback" not in done.stderr
        return done

    def refused(self, *arguments: Any, status: int = 2, **options: Any) -> str:
        """The one line that the command ends with."""
        err = self(*arguments, status=status, **options).stderr
        assert err.startswith("attnloss: ")
        assert err.count("\n") == 1, err
        return err


@pytest.fixture
def attnloss(tmp_path: Path) -> Command:
    return Command(tmp_path)


@pytest.fixture(scope="session")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a server with the default model."""
    if find_spec("service.client") is None:
        pytest.skip("there is no client yet")
    with server_starter(tmp_path_factory) as start:
        server = start(models="default")
        server.post("/loss", {"text": "once"})
        yield f"http://127.0.0.1:{server.port}"
        assert server.terminate() == 0


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hundred texts with ids."""
    draw = random.Random(0)
    path = tmp_path_factory.mktemp("corpus") / "corpus.jsonl"
    lines = [{"id": i, "text": " ".join(draw.choices(WORDS, k=draw.randint(3, 20)))} for i in range(100)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def rows_of(written: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in written.splitlines()]
