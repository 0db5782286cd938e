"""Where figures come from: the processor and the commit, for whatever prints them."""

import platform
import subprocess
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]


def processor() -> str:
    """The processor's name, or the machine's architecture where no name is told."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def commit() -> str:
    """The commit of the tree, with -dirty where files differ from it; unknown outside a repository."""
    command = ["git", "-C", str(_ROOT), "describe", "--always", "--dirty", "--exclude", "*"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "unknown"
