"""Runs benchmarks and writes `benchmarks/README.md`; exits with 1 if a bar is missed.

python -m benchmarks.report                 # every one
python -m benchmarks.report http batching   # these; the rest of the page stays as it is
"""

import argparse
import subprocess
import sys
from pathlib import Path

README = Path(__file__).with_name("README.md")
INTRODUCTION = """# Benchmarks

Made by `python -m benchmarks.report` (`make bench-report`); every table names its machine, versions and commit, and its
figures are ratios within one run. `make bench` prints the same without writing it. Not measured: a GPU, Apple MPS.
"""
SECTIONS = {
    "http": """## The service

Against a plain FastAPI application as one would write it in twenty lines (`baseline.py`: a `def` endpoint, pydantic
nested lists in, `response_model` out, torch with 2 threads). The load (`load.py`) is prebuilt bytes on 8 raw keep-alive
sockets, from a process of its own; the two servers are measured in turns, and every first answer is checked.
""",
    "batching": """## Batching

The service with its defaults against the service with `ATTNLOSS_MAX_BATCH_JOBS=1`: two workers, or two servers, stay up
and are loaded in turns. On the link there is no HTTP and no JSON: jobs go to the worker as the API sends them, and the
sender takes its share of the cores. `off` is the largest difference between answers.
""",
    "ops": """## Attention with its entropy

Against PyTorch's scaled_dot_product_attention alone, which gives no entropy: by the native kernel, and by what auto
takes where that was not built. Brackets hold the least and the most of the repetitions. Peak memory is what a fresh
process needs beyond its inputs.
""",
    "losses": """## Losses

Against eager PyTorch that builds the weights, forward.
""",
    "losses --stock": """### Without the native kernel
""",
    "language": """## Losses of a language model

Cross-entropy from hidden states and the output matrix, forward and backward, against logits in memory.
""",
    "probe": """## Statistics of a whole model

A model's forward with statistics of every layer, against the same model with SDPA and nothing recorded.
""",
    "text": """## Text

POST /loss over HTTP with the embedded model, against a loop in one process of one Hugging Face call for each text.
Server and loop run in turns; both have the whole machine, and the load generator shares the server's part.
""",
    "lm_eval_http": """## lm-eval

Unmodified lm-eval by `local-completions` over HTTP, against its own `hf` backend with the same model in its process.
Both are made and warm before, and evaluate the same documents in turns; lm-eval takes its part of the server's cores.
""",
}


def measured(command: str) -> tuple[str, int]:
    """What a benchmark prints, and its exit status."""
    run = subprocess.run([sys.executable, "-m", *f"benchmarks.{command}".split()], stdout=subprocess.PIPE, text=True)
    return run.stdout, run.returncode


def kept(page: str, introduction: str) -> str:
    """What stands below the introduction of a section on the page as it is."""
    _, found, after = page.partition(introduction)
    if not found:
        raise SystemExit(f"{README} has no section that begins with {introduction.splitlines()[0]!r}: run all")
    ends = [after.index(other) for other in SECTIONS.values() if other in after]
    return after[1 : min(ends, default=len(after) + 1) - 1]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument("sections", nargs="*", metavar="section", help=f"of {', '.join(SECTIONS)}; none: all of them")
    asked = parser.parse_args().sections or list(SECTIONS)
    if unknown := set(asked) - set(SECTIONS):
        parser.error(f"no section is named {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    page = README.read_text() if README.exists() else ""
    missed, parts = 0, [INTRODUCTION]
    for command, introduction in SECTIONS.items():
        text, status = measured(command) if command in asked else (kept(page, introduction), 0)
        missed |= status
        parts += [introduction, text]
    README.write_text("\n".join(parts))
    return missed


if __name__ == "__main__":
    sys.exit(main())
