"""lm-eval's local-completions over HTTP against its own hf backend: documents per second, and their log-likelihoods.

200 multiple-choice documents of English, four endings of 5 words each, the default model, batches of 8. Both backends
are made before and warm, each in a process of its own, and evaluate in turns on the same cores; the time is that of
`loglikelihood`. Prints markdown tables; exits with 1 if a bar is missed.

    python -m benchmarks.lm_eval_http [--rounds 3]
"""

import argparse
import json
import multiprocessing
import os
import random
import statistics
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.http import SERVICE, await_ok, serving
from benchmarks.measure import machine, table
from benchmarks.text import MODEL, wait_for_model

DOCUMENTS, CHOICES, BATCH, CONNECTIONS = 200, 4, 8, 4
FEWEST_WORDS, MOST_WORDS, ENDING_WORDS = 5, 30, 5
WARM_UP_DOCUMENTS = 16
LEAST_SHARE = 0.6
FURTHEST = 1e-4
TASK = """
task: endings
dataset_path: json
dataset_kwargs: {{data_files: {data}}}
output_type: multiple_choice
test_split: train
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: answer
target_delimiter: ""
metric_list: [{{metric: acc}}]
"""


def write_task(folder: Path) -> None:
    """The standard library's help, cut at words, and endings of which one is the true one; the same every time."""
    from pydoc_data.topics import topics

    words = " ".join(topics[name] for name in sorted(topics)).split()
    draw = random.Random(0)
    documents = []
    for _ in range(DOCUMENTS):
        length, answer = draw.randint(FEWEST_WORDS, MOST_WORDS), draw.randrange(CHOICES)
        starts = [draw.randrange(len(words) - MOST_WORDS - ENDING_WORDS) for _ in range(CHOICES)]
        endings = [" ".join(["", *words[start + length : start + length + ENDING_WORDS]]) for start in starts]
        question = " ".join(words[starts[answer] : starts[answer] + length])
        documents.append({"question": question, "choices": endings, "answer": answer})
    data = folder / "endings.jsonl"
    data.write_text("".join(json.dumps(document) + "\n" for document in documents))
    (folder / "endings.yaml").write_text(TASK.format(data=data))


_made: dict[str, Any] = {}


def evaluate(backend: str, arguments: dict[str, Any], folder: str, documents: int) -> tuple[float, list[float]]:
    """Seconds of `loglikelihood`, and what it found; the backend is kept for the next round."""
    os.environ |= {"HF_HOME": folder, "HF_DATASETS_OFFLINE": "1", "HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    import lm_eval
    from lm_eval.api.registry import get_model
    from lm_eval.tasks import TaskManager

    if not _made:
        _made["tasks"] = TaskManager(include_path=folder, include_defaults=False)
        _made["model"] = get_model(backend).create_from_arg_obj(arguments, {"batch_size": BATCH})
    model = _made["model"]
    took: list[float] = []

    def timed(requests: Any, **options: Any) -> Any:
        began_s = time.perf_counter()
        found = type(model).loglikelihood(model, requests, **options)
        took.append(time.perf_counter() - began_s)
        return found

    model.loglikelihood = timed
    found: Any = lm_eval.simple_evaluate(
        model=model,
        tasks=["endings"],
        task_manager=_made["tasks"],
        bootstrap_iters=0,
        log_samples=True,
        limit=documents,
        verbosity="ERROR",
    )
    samples = sorted(found["samples"]["endings"], key=lambda sample: sample["doc_id"])
    return sum(took), [float(each[0][0]) for sample in samples for each in sample["resps"]]


def report(rounds: int) -> bool:
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # as the service has it; spinning would slow hf on shared cores
    spawn = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(SERVICE) as (process, port),
        ProcessPoolExecutor(1, mp_context=spawn) as hf,
        ProcessPoolExecutor(1, mp_context=spawn) as http,
    ):
        write_task(Path(folder))
        await_ok(process, f"http://127.0.0.1:{port}/health/ready")
        wait_for_model(port)
        over = {"model": "default", "base_url": f"http://127.0.0.1:{port}/v1/completions"}
        over |= {"tokenizer": str(MODEL), "tokenizer_backend": "huggingface"}
        local = {"pretrained": str(MODEL), "device": "cpu", "dtype": "float32", "add_bos_token": False}
        runs = {
            "hf": (hf, "hf", local),
            f"HTTP, {CONNECTIONS} connections": (http, "local-completions", over | {"num_concurrent": CONNECTIONS}),
        }
        rates: dict[str, list[float]] = {name: [] for name in runs}
        furthest = dict.fromkeys(runs, 0.0)
        for turn in range(rounds + 1):
            documents = DOCUMENTS if turn else WARM_UP_DOCUMENTS
            truth: list[float] = []
            for name, (pool, *asked) in runs.items():
                took_s, found = pool.submit(evaluate, *asked, folder, documents).result()
                truth = truth or found
                off = max(abs(one - other) for one, other in zip(truth, found, strict=True))
                furthest[name] = max(furthest[name], off)
                if turn:
                    rates[name].append(DOCUMENTS / took_s)
    print(f"{DOCUMENTS} documents of {CHOICES} endings, batches of {BATCH}. {machine()}\n")
    medians = {name: statistics.median(of) for name, of in rates.items()}
    head = ["backend of lm-eval", "documents/s", "of hf", "bar", "largest difference, nats"]
    rows = []
    for i, (name, of) in enumerate(rates.items()):
        share = f"**{medians[name] / medians['hf']:.2f}×**" if i else ""
        spread = f"{medians[name]:.1f} ({min(of):.1f}–{max(of):.1f})"
        rows.append([name, spread, share, f"≥ {LEAST_SHARE}×" if i == 1 else "", f"{furthest[name]:.1e}" if i else ""])
    print(table(head, rows))
    return min(medians.values()) >= LEAST_SHARE * medians["hf"] and max(furthest.values()) <= FURTHEST


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    if not report(parser.parse_args().rounds):
        sys.exit(1)


if __name__ == "__main__":
    main()
