"""What supervised children of tests leave behind, and waiting for it."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def started(place: Path) -> list[int]:
    file = place / "started"
    return [int(line.split()[0]) for line in file.read_text().splitlines()] if file.exists() else []


def until(condition: Callable[[], Any], within_s: float = 10) -> None:
    end_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end_s, "waited in vain"
        time.sleep(0.01)
