"""Losses in O(n·d) memory against the eager code that builds the weights, on this machine's CPU.

Prints a markdown table of times and peak memory; exits with 1 if a bar is missed.

    python -m benchmarks.losses [--threads 2] [--repetitions 5] [-n 4096]
"""

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from attnloss import attention, losses
from attnloss.kernels import library, native
from benchmarks.measure import extra_peak_mib, in_fresh_process, interleaved, machine, ratio, shown, table

HEADS, WIDTH = 12, 64
SCALE = WIDTH**-0.5
LEAST_MEMORY_SAVING = 20

Maps = tuple[Tensor, Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Case:
    """A loss as one writes it with the weights in memory, and as the library does; and how much faster it must be."""

    eager: Callable[[Maps], Tensor]
    ours: Callable[[Maps], Tensor]
    least_speedup: float
    judge_memory: bool = True


def scores(query: Tensor, key: Tensor) -> Tensor:
    return (query * SCALE) @ key.mT


def eager_entropy(maps: Maps) -> Tensor:
    log_weights = scores(*maps[:2]).log_softmax(-1)
    return -(log_weights.exp() * log_weights).sum(-1).mean()


def eager_kl(maps: Maps) -> Tensor:
    log_p, log_r = scores(*maps[:2]).log_softmax(-1), scores(*maps[2:]).log_softmax(-1)
    return (log_p.exp() * (log_p - log_r)).sum(-1).mean()


def eager_guided(maps: Maps) -> Tensor:
    weights = scores(*maps[:2]).softmax(-1)
    n, m = weights.shape[-2:]
    away = torch.arange(m) / m - torch.arange(n)[:, None] / n
    return (weights * (1 - torch.exp(-away.square() / (2 * 0.4**2)))).sum(-1).mean()


def eager_received(maps: Maps) -> Tensor:
    return scores(*maps[:2]).softmax(-1).sum(-2)


def eager_score_mse(maps: Maps) -> Tensor:
    return (scores(*maps[:2]) - scores(*maps[2:])).square().mean()


def received(maps: Maps) -> Tensor:
    found = attention(*maps[:2], returns=("received",)).received
    assert found is not None
    return found


CASES = {
    "entropy": Case(eager_entropy, lambda maps: losses.entropy(*maps[:2]), 3),
    "kl": Case(eager_kl, lambda maps: losses.kl(*maps), 3),
    "guided": Case(eager_guided, lambda maps: losses.guided(*maps[:2]), 3),
    "received": Case(eager_received, received, 2),
    "score_mse": Case(eager_score_mse, lambda maps: losses.score_mse(*maps), 20, judge_memory=False),
}


def maps_of(n: int) -> Maps:
    generator = torch.Generator().manual_seed(n)
    query, key, other_query, other_key = (torch.randn(1, HEADS, n, WIDTH, generator=generator) for _ in range(4))
    return query, key, other_query, other_key


def measure_memory(name: str, n: int, *, eager: bool) -> None:
    """Print the extra peak of one call in this process, which must be fresh."""
    run = CASES[name].eager if eager else CASES[name].ours
    run(maps_of(16))
    maps = maps_of(n)
    print(extra_peak_mib(lambda: run(maps)))


def row(name: str, n: int, repetitions: int, threads: int) -> tuple[list[str], bool]:
    case, maps = CASES[name], maps_of(n)
    expected, found = case.eager(maps), case.ours(maps)
    assert torch.allclose(expected, found, rtol=1e-3, atol=1e-5), (name, expected, found)
    times = interleaved({"eager": lambda: case.eager(maps), "ours": lambda: case.ours(maps)}, repetitions)
    options = ["--of", name, "-n", n, "--threads", threads]
    eager_mib = in_fresh_process("benchmarks.losses", *options, "--eager")
    ours_mib = in_fresh_process("benchmarks.losses", *options)
    speedup, saving = 1 / ratio(times, "ours", "eager"), eager_mib / max(ours_mib, 1.0)
    met = speedup >= case.least_speedup and (saving >= LEAST_MEMORY_SAVING or not case.judge_memory)
    bar = f"≥ {case.least_speedup:g}×" + (f", ≤ 1/{LEAST_MEMORY_SAVING}" if case.judge_memory else "")
    memory = [f"{eager_mib:.0f}", f"{ours_mib:.0f}", f"1/{saving:.0f}"]
    return [name, shown(times["eager"]), shown(times["ours"]), f"**{speedup:.1f}×**", *memory, bar], met


def report(n: int, repetitions: int, threads: int) -> bool:
    kernel = "stock torch" if native.unavailable() else f"native kernel, {library.load().isa}"
    print(f"n = m = {n}, {HEADS} heads of {WIDTH}, float32, forward; {kernel}. {machine()}\n")
    rows = [row(name, n, repetitions, threads) for name in CASES]
    head = ["loss", "eager, ms", "ours, ms", "faster", "eager, MiB", "ours, MiB", "memory", "bar"]
    print(table(head, [cells for cells, _ in rows]))
    if native.unavailable():
        print("\nThe bars are for the native kernel.")
        return True
    met = all(fine for _, fine in rows)
    print(f"\nBars: {'met' if met else 'MISSED'}")
    return met


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("-n", type=int, default=4096)
    parser.add_argument("--stock", action="store_true", help="measure without the native kernel")
    parser.add_argument("--of", choices=CASES, help=argparse.SUPPRESS)
    parser.add_argument("--eager", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.stock:
        os.environ[library.FORCED] = "none"
    torch.set_num_threads(arguments.threads)
    if arguments.of:
        measure_memory(arguments.of, arguments.n, eager=arguments.eager)
    elif not report(arguments.n, arguments.repetitions, arguments.threads):
        sys.exit(1)


if __name__ == "__main__":
    main()
