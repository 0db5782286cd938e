"""Cross-entropy from hidden states against logits in memory, on this machine's CPU, forward and backward.

Prints a markdown table of times and of peak extra memory; exits with 1 if a bar is missed.

    python -m benchmarks.language [--threads 2] [--repetitions 5]
"""

import argparse
import sys
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from attnloss import language
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

TOKENS, WORDS, WIDTH = 4096, 32768, 256
MOST_TIMES_DENSE = 1.3
LEAST_MEMORY_SAVING = 8
DENSE = "logits in memory"
OURS = "cross_entropy"
CHUNKED = "cross_entropy, backend chunked"
JUDGED = (OURS, CHUNKED)

Loss = Callable[[Tensor, Tensor], Tensor]


def losses(targets: Tensor) -> dict[str, Loss]:
    """What is compared: two leaves in, a scalar out."""
    compared: dict[str, Loss] = {
        DENSE: lambda hidden, weight: F.cross_entropy(F.linear(hidden, weight), targets),
        OURS: lambda hidden, weight: language.cross_entropy(hidden, weight, targets),
        CHUNKED: lambda hidden, weight: language.cross_entropy(hidden, weight, targets, backend="chunked"),
        "smoothing 0.1": lambda hidden, weight: language.cross_entropy(hidden, weight, targets, smoothing=0.1),
        "smoothing and z-loss": lambda hidden, weight: language.cross_entropy(
            hidden, weight, targets, smoothing=0.1, z_coefficient=1e-4
        ),
        "log-probabilities and entropy": lambda hidden, weight: with_entropy(hidden, weight, targets),
    }
    if hasattr(F, "linear_cross_entropy"):
        options = torch.nn.LinearCrossEntropyOptions()
        compared["F.linear_cross_entropy alone"] = lambda hidden, weight: F.linear_cross_entropy(
            hidden, weight, targets, options=options
        )
    return compared


def with_entropy(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    scores = language.token_scores(hidden, weight, targets, entropy=True)
    assert scores.log_prob is not None
    assert scores.entropy is not None
    return scores.entropy.mean() - scores.log_prob.mean()


def problem(tokens: int, words: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(tokens)
    hidden = torch.randn(tokens, WIDTH, generator=generator)
    weight = torch.randn(words, WIDTH, generator=generator) / WIDTH**0.5
    return hidden, weight, torch.randint(words, (tokens,), generator=generator)


def measure_memory(name: str) -> None:
    """Print the extra peak of one call in this process, which must be fresh."""
    *warm, warm_targets = problem(16, 64)
    with_gradient(losses(warm_targets)[name], tuple(warm))()
    *leaves, targets = problem(TOKENS, WORDS)
    print(extra_peak_mib(with_gradient(losses(targets)[name], tuple(leaves))))


def report(repetitions: int, threads: int) -> bool:
    print(f"{TOKENS} tokens × {WORDS} words, d = {WIDTH}, float32, forward and backward. {machine()}\n")
    *leaves, targets = problem(TOKENS, WORDS)
    compared = losses(targets)
    times = interleaved({name: with_gradient(loss, tuple(leaves)) for name, loss in compared.items()}, repetitions)
    extra = {
        name: in_fresh_process("benchmarks.language", "--memory-of", name, "--threads", threads) for name in compared
    }
    rows, met = [], True
    for name, times_ms in times.items():
        times_dense, saving = ratio(times, name, DENSE), extra[DENSE] / extra[name]
        rows.append([name, shown(times_ms), f"{times_dense:.2f}×", f"{extra[name]:.0f}", f"{saving:.1f}×"])
        if name in JUDGED:
            met &= times_dense <= MOST_TIMES_DENSE and saving >= LEAST_MEMORY_SAVING
    print(table(["what", "ms", "ratio", "extra peak, MiB", "saving"], rows))
    bars = f"at most {MOST_TIMES_DENSE}× the time of {DENSE}, at 1/{LEAST_MEMORY_SAVING} of its extra memory"
    print(f"\nBars for {' and '.join(JUDGED)}: {bars}: {'met' if met else 'MISSED'}")
    return met


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.memory_of:
        measure_memory(arguments.memory_of)
    elif not report(arguments.repetitions, arguments.threads):
        sys.exit(1)


if __name__ == "__main__":
    main()
