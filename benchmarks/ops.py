"""Attention with its entropy against `scaled_dot_product_attention` alone, on this machine's CPU.

Prints a markdown table of times, and one of peak memory; exits with 1 if a bar is missed.

    python -m benchmarks.ops [--threads 2] [--repetitions 9]

Run as a module: as a script, `http.py` beside it would hide the standard library's.
"""

import argparse
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from attnloss import attention

HEADS, WIDTH = 12, 64
SIZES = (1024, 2048, 4096, 8192)
ROOT = Path(__file__).parents[1]
MOST_TIMES_SDPA = 2.2
MOST_GROWTH = 2.5
"""How often the extra memory of half the queries may be used: linear growth is 2, and pages are coarse."""
MEMORY_FLOOR_MIB = 32
"""Tiles and thread buffers, which do not grow with n: below this, growth is not judged."""


def tensors(n: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(n)
    query, key, value = (torch.randn(1, HEADS, n, WIDTH, generator=generator) for _ in range(3))
    return query, key, value


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


def total(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    result = attention(query, key, value, returns=("output", "entropy"))
    assert result.output is not None
    assert result.entropy is not None
    return result.output.sum() + result.entropy.sum()


def compare(n: int, repetitions: int, *, grad: bool) -> float:
    """Print one row and return the ratio of the medians."""
    inputs = tensors(n)
    if grad:
        functions = {
            "sdpa": with_gradient(lambda *leaves: F.scaled_dot_product_attention(*leaves).sum(), inputs),
            "ours": with_gradient(total, inputs),
        }
        leaves = [tensor.requires_grad_() for tensor in tensors(n)]
        backend = attention(*leaves, returns=("output", "entropy")).backend
    else:
        functions = {
            "sdpa": lambda: F.scaled_dot_product_attention(*inputs),
            "ours": lambda: attention(*inputs, returns=("output", "entropy")),
        }
        backend = attention(*inputs, returns=("output", "entropy")).backend
    times = interleaved(functions, repetitions)
    cells = [f"{statistics.median(times[name]):.1f} ({min(times[name]):.1f}–{max(times[name]):.1f})" for name in times]
    ratio = statistics.median(times["ours"]) / statistics.median(times["sdpa"])
    what = "forward and backward" if grad else "forward"
    print(f"| {n} | {what} | {' | '.join(cells)} | {ratio:.2f}× | {backend} |")
    return ratio


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


def measure_memory(n: int, grad: bool) -> None:
    """Print the extra peak of one call in this process, which must be fresh."""
    warm = tuple(tensor.requires_grad_(grad) for tensor in tensors(16))
    inputs = tuple(tensor.requires_grad_(grad) for tensor in tensors(n))
    run = (lambda leaves: torch.autograd.grad(total(*leaves), leaves)) if grad else (lambda leaves: total(*leaves))
    run(warm)
    forget_peak()
    before = peak_mib()
    run(inputs)
    print(peak_mib() - before)


def memory(n: int, grad: bool, threads: int) -> float:
    command = [sys.executable, "-m", "benchmarks.ops", "--memory-of", str(n), "--threads", str(threads)]
    command += ["--grad"] if grad else []
    answer = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return float(answer.stdout)


def grows_linearly(extra: list[float]) -> bool:
    return all(more <= MOST_GROWTH * max(less, MEMORY_FLOOR_MIB / 2) for less, more in pairwise(extra))


def machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(": ")[1] for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor()
    command = ["git", "rev-parse", "--short", "HEAD"]
    git = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    commit = git.stdout.strip() or "unknown"
    cpu = f"{name}, {os.cpu_count()} cores, {torch.get_num_threads()} threads"
    return f"{cpu}; torch {torch.__version__}; commit {commit}"


def report(repetitions: int, threads: int) -> bool:
    print(f"Attention and entropy, {HEADS} heads of {WIDTH}, float32. {machine()}\n")
    print("| n | what | SDPA alone, ms | attention + entropy, ms | ratio | backend |\n|---|---|---|---|---|---|")
    met = True
    for n in (1024, 4096):
        for grad in (False, True):
            met &= compare(n, repetitions, grad=grad) <= MOST_TIMES_SDPA
    print("\n| n | " + " | ".join(str(n) for n in SIZES) + " |\n|---" + "|---" * len(SIZES) + "|")
    for grad in (False, True):
        extra = [memory(n, grad, threads) for n in SIZES]
        what = "forward and backward" if grad else "forward"
        print(f"| extra peak, {what}, MiB | " + " | ".join(f"{mib:.0f}" for mib in extra) + " |")
        met &= grows_linearly(extra)
    print(f"\nBars: at most {MOST_TIMES_SDPA}× SDPA, memory linear in n: {'met' if met else 'MISSED'}")
    return met


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repetitions", type=int, default=9)
    parser.add_argument("--memory-of", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--grad", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.memory_of:
        measure_memory(arguments.memory_of, arguments.grad)
    elif not report(arguments.repetitions, arguments.threads):
        sys.exit(1)


if __name__ == "__main__":
    main()
