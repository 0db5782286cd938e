"""How time and memory are measured: interleaved, in medians, memory in fresh processes."""

import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from tools.machine import commit, processor

ROOT = Path(__file__).parents[1]


def interleaved(functions: dict[str, Callable[[], object]], repetitions: int) -> dict[str, list[float]]:
    """Time in ms, each function once per round, so that a slow spell of the machine hits all alike."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for repetition in range(repetitions + 1):
        for name, function in functions.items():
            start_s = time.perf_counter()
            function()
            if repetition:
                times[name].append((time.perf_counter() - start_s) * 1e3)
    return times


def with_gradient(function: Callable[..., Tensor], inputs: tuple[Tensor, ...]) -> Callable[[], object]:
    leaves = [tensor.detach().requires_grad_() for tensor in inputs]
    return lambda: torch.autograd.grad(function(*leaves), leaves)


def ratio(times: dict[str, list[float]], ours: str, theirs: str) -> float:
    """Of the medians."""
    return statistics.median(times[ours]) / statistics.median(times[theirs])


def shown(times_ms: list[float]) -> str:
    """Median, and in brackets the least and the most."""
    return f"{statistics.median(times_ms):.1f} ({min(times_ms):.1f}–{max(times_ms):.1f})"


def peak_mib() -> float:
    """Peak resident memory: since `forget_peak` on Linux, else since the process began."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def forget_peak() -> None:
    reset = Path("/proc/self/clear_refs")
    if reset.exists():
        reset.write_text("5")


def extra_peak_mib(run: Callable[[], object]) -> float:
    """Peak memory of one call beyond what the process has before it, in MiB."""
    forget_peak()
    before = peak_mib()
    run()
    return peak_mib() - before


def in_fresh_process(module: str, *arguments: object, environment: Mapping[str, str] | None = None) -> float:
    """Run a module of this folder and read the number it prints."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    environment = {**os.environ, **(environment or {})}
    answer = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, env=environment)
    return float(answer.stdout)


def machine() -> str:
    cpu = f"{processor()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads"
    return f"{cpu}; torch {torch.__version__}; commit {commit()}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
