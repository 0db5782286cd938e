"""Helpers of the tests in processes of their own, since the test's own process would slow what it measures."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from tests.serving import ROOT


def generate(port: int, within_s: float = 200.0, **plan: Any) -> dict[str, Any]:
    """What the generator saw; see tests.chaos.generator."""
    process = begin(port, **plan)
    return finish(process, within_s)


def begin(port: int, **plan: Any) -> subprocess.Popen[str]:
    """A generator that runs."""
    command = [sys.executable, "-m", "tests.chaos.generator", json.dumps({"port": port} | plan)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str], within_s: float = 200.0) -> dict[str, Any]:
    """What a running generator saw."""
    try:
        output, _ = process.communicate(timeout=within_s)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, "the generator failed; its error is above"
    seen: dict[str, Any] = json.loads(output)
    return seen


@contextlib.contextmanager
def pulse(port: int) -> Iterator[list[tuple[float, float]]]:
    """Asks /health/live every 20 ms while the block runs; then holds when each was due, and how long it took."""
    command = [sys.executable, "-m", "tests.chaos.pulse", str(port)]
    found: list[tuple[float, float]] = []
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield found
            output, _ = process.communicate("", timeout=30)
        finally:
            process.kill()
    assert process.returncode == 0, "no pulse; its error is above"
    found += json.loads(output)
