"""What the tests measured: printed, and appended to the file that ATTNLOSS_CHAOS_FIGURES names."""

import json
import os
import time
from pathlib import Path
from typing import Any

FILE = "ATTNLOSS_CHAOS_FIGURES"


def record(name: str, **figures: Any) -> None:
    """Keep the figures of one test; units are in their names, as in `recovery_s_max`."""
    rounded = {key: round(value, 3) if isinstance(value, float) else value for key, value in figures.items()}
    print(f"\n{name}: " + ", ".join(f"{key} {value}" for key, value in rounded.items()))  # noqa: T201
    if path := os.environ.get(FILE):
        with Path(path).open("a") as file:
            file.write(json.dumps({"name": name, "at": time.time(), "figures": rounded}) + "\n")


def read(path: Path) -> dict[str, dict[str, Any]]:
    """The latest figures of each test."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return {line["name"]: line["figures"] for line in lines}
