"""Statistics of a whole model's attention against the same model with SDPA and nothing recorded.

Prints a markdown table of times and of peak memory; exits with 1 if a bar is missed.

    python -m benchmarks.probe [--threads 2] [--repetitions 5]
"""

import argparse
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from transformers import LlamaConfig, LlamaModel

from attnloss.kernels import native
from attnloss.probe import install, probe
from benchmarks.measure import extra_peak_mib, in_fresh_process, interleaved, machine, ratio, shown, table

LAYERS, HEADS, WIDTH, N = 6, 8, 64, 4096
ASKED = {"entropy": ("entropy",), "entropy, received, top-8": ("entropy", "received", "top")}
MOST_TIMES_SDPA = {"entropy": 1.8, "entropy, received, top-8": 3.0}
MOST_SHARE_OF_EAGER_MEMORY = 1 / 20
EAGER = "eager with weights"
SDPA = "nothing, SDPA"
NO_HOLES = {"MALLOC_MMAP_THRESHOLD_": str(1 << 20)}
"""glibc gives blocks beyond 1 MiB back at once. By default small blocks that stay, such as a layer's entropies, part
its heap between the MLP's large ones, and the peak is up to 130 MiB more from one run to the next."""


def network(attention: str) -> Any:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=1000,
        hidden_size=HEADS * WIDTH,
        intermediate_size=1408,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        max_position_embeddings=N,
        attn_implementation=attention,
    )
    return LlamaModel(config).eval().requires_grad_(False)


def ids() -> torch.Tensor:
    return torch.randint(0, 1000, (1, N), generator=torch.Generator().manual_seed(1))


def plain(model: Any, inputs: torch.Tensor, **options: Any) -> Callable[[], object]:
    @torch.inference_mode()
    def run() -> object:
        return model(input_ids=inputs, use_cache=False, **options)

    return run


def probed(model: Any, inputs: torch.Tensor, returns: tuple[str, ...]) -> Callable[[], object]:
    @torch.inference_mode()
    def run() -> object:
        with probe(model, returns=returns, top_k=8 if "top" in returns else None) as probing:
            model(input_ids=inputs, use_cache=False)
        return probing.records

    return run


def measure_memory(what: str) -> None:
    """Print the extra peak of one forward in this process, which must be fresh."""
    if what == EAGER:
        model, warm = network("eager"), ids()[:, :16]
        run, warm_up = plain(model, ids(), output_attentions=True), plain(model, warm, output_attentions=True)
    elif what == SDPA:
        model = network("sdpa")
        run, warm_up = plain(model, ids()), plain(model, ids()[:, :16])
    else:
        model = network("sdpa")
        install(model)
        run, warm_up = probed(model, ids(), ASKED[what]), probed(model, ids()[:, :16], ASKED[what])
    warm_up()
    print(extra_peak_mib(run))


def report(repetitions: int, threads: int) -> bool:
    print(f"Llama of {LAYERS} layers × {HEADS} heads of {WIDTH}, n = {N}, float32. {machine()}\n")
    inputs, probing = ids(), network("sdpa")
    install(probing)
    runs = {"sdpa": plain(network("sdpa"), inputs)}
    runs |= {what: probed(probing, inputs, returns) for what, returns in ASKED.items()}
    times = interleaved(runs, repetitions)
    eager = interleaved({EAGER: plain(network("eager"), inputs, output_attentions=True)}, 1)
    options = ["--threads", threads, "--memory-of"]
    peak = partial(in_fresh_process, "benchmarks.probe", *options)
    memory = {what: peak(what, environment=NO_HOLES) for what in [SDPA, *ASKED, EAGER]}
    rows, met = [[SDPA, shown(times["sdpa"]), "", "", f"{memory[SDPA]:.0f}", "", "", ""]], True
    for what in ASKED:
        found, share = ratio(times, what, "sdpa"), memory[what] / memory[EAGER]
        met &= found <= MOST_TIMES_SDPA[what] and share <= MOST_SHARE_OF_EAGER_MEMORY
        bars = f"≤ {MOST_TIMES_SDPA[what]}×", f"**1/{1 / share:.0f}**", "≤ 1/20"
        holes = [peak(what) for _ in range(3)]
        row = [what, shown(times[what]), f"**{found:.2f}×**", bars[0], f"{memory[what]:.0f}", *bars[1:]]
        rows.append([*row, f"{min(holes):.0f}–{max(holes):.0f}"])
    slower = f"{ratio(times | eager, EAGER, 'sdpa'):.1f}×"
    rows.append([EAGER, shown(eager[EAGER]), slower, "", f"{memory[EAGER]:.0f}", "", "", ""])
    heads = [
        "recorded",
        "forward, ms",
        "ratio",
        "bar",
        "extra peak, MiB",
        "of eager's",
        "bar",
        "default heap, 3 runs, MiB",
    ]
    print(table(heads, rows))
    if reason := native.unavailable():
        print(f"\nWithout the native kernel: {reason}")
    print(f"\nBars: {'met' if met else 'MISSED'}")
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
