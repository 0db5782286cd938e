"""Attention with its entropy against `scaled_dot_product_attention` alone, on this machine's CPU.

Prints a markdown table of times, and one of peak memory; exits with 1 if a bar is missed.

    python -m benchmarks.ops [--threads 2] [--repetitions 9]

Run as a module: as a script, `http.py` beside it would hide the standard library's.
"""

import argparse
import sys
from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from attnloss import attention
from attnloss.kernels import native
from benchmarks.measure import (
    extra_peak_mib,
    in_fresh_process,
    interleaved,
    machine,
    ratio,
    shown,
    table,
    with_gradient,
)

HEADS, WIDTH = 12, 64
SIZES = (1024, 2048, 4096, 8192)
JUDGED_N = 4096
MOST_TIMES_SDPA = {"native": 1.1, "stock": 2.1, "native, backward": 2.2, "stock, backward": 2.2}
MOST_GROWTH = 2.5
"""How often the extra memory of half the queries may be used: linear growth is 2, and pages are coarse."""
MEMORY_FLOOR_MIB = 32
"""Tiles and thread buffers, which do not grow with n: below this, growth is not judged."""


def tensors(n: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(n)
    query, key, value = (torch.randn(1, HEADS, n, WIDTH, generator=generator) for _ in range(3))
    return query, key, value


def total(backend: str) -> Callable[..., Tensor]:
    def run(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        result = attention(query, key, value, returns=("output", "entropy"), backend=backend)
        assert result.output is not None
        assert result.entropy is not None
        return result.output.sum() + result.entropy.sum()

    return run


def backends() -> dict[str, str]:
    """What auto takes where the kernel was built, and where it was not."""
    found = {} if native.unavailable() else {"native": "native"}
    return found | {"stock": "flash"}


def compare(n: int, repetitions: int, *, grad: bool) -> tuple[list[list[str]], bool]:
    """Rows of the table, and whether each bar was met."""
    inputs = tensors(n)
    if grad:
        runs = {"sdpa": with_gradient(lambda *leaves: F.scaled_dot_product_attention(*leaves).sum(), inputs)}
        runs |= {name: with_gradient(total(backend), inputs) for name, backend in backends().items()}
    else:
        runs = {"sdpa": lambda: F.scaled_dot_product_attention(*inputs)}
        for name, backend in backends().items():
            runs[name] = lambda backend=backend: attention(*inputs, returns=("output", "entropy"), backend=backend)
    times = interleaved(runs, repetitions)
    rows, met = [], True
    for name, backend in backends().items():
        bar = MOST_TIMES_SDPA[f"{name}, backward" if grad else name]
        found = ratio(times, name, "sdpa")
        met &= n != JUDGED_N or found <= bar
        what = "forward and backward" if grad else "forward"
        asked = f"≤ {bar}×" if n == JUDGED_N else ""
        rows.append([str(n), what, backend, shown(times["sdpa"]), shown(times[name]), f"**{found:.2f}×**", asked])
    return rows, met


def measure_memory(n: int, backend: str, *, grad: bool) -> None:
    """Print the extra peak of one call in this process, which must be fresh."""
    warm = tuple(tensor.requires_grad_(grad) for tensor in tensors(16))
    inputs = tuple(tensor.requires_grad_(grad) for tensor in tensors(n))

    def run(leaves: tuple[Tensor, ...]) -> object:
        return torch.autograd.grad(total(backend)(*leaves), leaves) if grad else total(backend)(*leaves)

    run(warm)
    print(extra_peak_mib(lambda: run(inputs)))


def grows_linearly(extra: list[float]) -> bool:
    return all(more <= MOST_GROWTH * max(less, MEMORY_FLOOR_MIB / 2) for less, more in pairwise(extra))


def report(repetitions: int, threads: int) -> bool:
    print(f"Attention and entropy, {HEADS} heads of {WIDTH}, float32. {machine()}\n")
    met, rows = True, []
    for n in (1024, JUDGED_N):
        for grad in (False, True):
            found, fine = compare(n, repetitions, grad=grad)
            rows, met = rows + found, met and fine
    print(table(["n", "what", "backend", "SDPA alone, ms", "attention + entropy, ms", "ratio", "bar"], rows))
    rows = []
    for grad in (False, True):
        for backend in backends().values():
            options = ["--threads", threads, "--backend", backend, *(["--grad"] if grad else [])]
            extra = [in_fresh_process("benchmarks.ops", "--memory-of", n, *options) for n in SIZES]
            what = "forward and backward" if grad else "forward"
            rows.append([f"extra peak, {what}, {backend}, MiB", *(f"{mib:.0f}" for mib in extra)])
            met &= grows_linearly(extra)
    print("\n" + table(["n", *map(str, SIZES)], rows))
    if reason := native.unavailable():
        print(f"\nNot measured: backend native, {reason}")
    print(f"\nBars at n = {JUDGED_N}, and memory linear in n: {'met' if met else 'MISSED'}")
    return met


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repetitions", type=int, default=9)
    parser.add_argument("--memory-of", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--backend", default="auto", help=argparse.SUPPRESS)
    parser.add_argument("--grad", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.memory_of:
        measure_memory(arguments.memory_of, arguments.backend, grad=arguments.grad)
    elif not report(arguments.repetitions, arguments.threads):
        sys.exit(1)


if __name__ == "__main__":
    main()
