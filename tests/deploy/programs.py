"""Programs of others that read what deploy/ holds."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest


def program(name: str, package: str) -> str:
    """Where a program is; without it a developer's tests are skipped and those of CI fail."""
    if found := shutil.which(name):
        return found
    why = f"no {name}: install Debian's package `{package}`"
    if os.environ.get("CI", "").lower() in ("", "0", "false"):
        pytest.skip(why)
    pytest.fail(why)


def promtool(folder: Path, *arguments: str) -> None:
    """Run Prometheus' checker in a folder; it must find nothing."""
    command = [program("promtool", "prometheus"), *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def kustomize(folder: Path) -> str:
    """What kustomize renders a folder to, without warnings."""
    command = [program("kubectl", "kubectl"), "kustomize", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout
