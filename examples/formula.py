"""The formula by hand, by the library and by the service, on "I love programming"; and the sample code's zero.

The article: Weight = softmax(Q Kᵀ / √d), Loss = −Σ Weight · log(Probability). Its sample code puts the row sums of the
weights in the place of Probability. A row of a softmax sums to 1, log 1 = 0, and every term is 0, whatever Q and K
are; so is the gradient. Its prose says what was probably meant: the attention distribution itself, so that the loss is
the entropy; or, where something is known of where to attend, the cross-entropy to it.
"""

import math
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx
import torch
from matplotlib.figure import Figure
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils.logging import disable_progress_bar

from attnloss import attention, losses
from docs.plots.canvas import COLOURS, heat_map, panels
from examples.study import ROOT, Case, Run, run_alone

MODEL = ROOT / "service" / "models" / "default"
TEXT = "I love programming"
SEED = 0
"""Of the random queries and keys on which the sample code's loss is computed."""


def cases(*, full: bool) -> list[Case]:
    return [{"text": TEXT, "random inputs": 1000 if full else 100}]


def words(text: str) -> tuple[list[str], torch.Tensor]:
    """The words of a text and the default model's embeddings of them [n, d], each with a score of 2 with itself."""
    disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    table = AutoModelForCausalLM.from_pretrained(MODEL).get_input_embeddings().weight.detach()
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    rows = torch.nn.functional.normalize(table[ids].double(), dim=-1) * math.sqrt(2 * math.sqrt(table.shape[1]))
    return [tokenizer.decode([each]).strip() for each in ids], rows


def by_hand(query: list[list[float]], key: list[list[float]]) -> dict[str, Any]:
    """Compute the three steps with nothing but Python's own arithmetic."""
    d = len(query[0])
    scores = [[sum(a * b for a, b in zip(q, k, strict=True)) / math.sqrt(d) for k in key] for q in query]
    weights = []
    for row in scores:
        exps = [math.exp(score - max(row)) for score in row]
        weights.append([each / sum(exps) for each in exps])
    entropy = [-sum(p * math.log(p) for p in row) for row in weights]
    row_sum = [-sum(p * math.log(sum(row)) for p in row) for row in weights]
    mean = {"entropy": sum(entropy) / len(entropy), "row_sum": sum(row_sum) / len(row_sum)}
    return {"scores": scores, "weights": weights} | mean


@contextmanager
def service() -> Iterator[str]:
    """Start a server of its own, and end it."""
    command = [sys.executable, "-m", "service.cli", "serve", "--port", "0"]
    settings = os.environ | {"ATTNLOSS_MODELS": ""}
    with subprocess.Popen(command, env=settings, stderr=subprocess.STDOUT, stdout=subprocess.PIPE, text=True) as server:
        try:
            told = (re.search(r"http://[\w.]+:\d+", line) for line in server.stdout or ())
            yield next(found[0] for found in told if found)
        finally:
            server.terminate()
            server.communicate()


def by_service(query: list[list[float]], key: list[list[float]]) -> dict[str, Any]:
    """Ask for the same by POST /attention and POST /loss."""
    losses_asked = [{"name": "entropy"}, {"name": "row_sum"}]
    with service() as url, httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
        while client.get("/health/ready").status_code != 200:
            time.sleep(0.05)
        fields = {"query": query, "key": key, "dtype": "float64"}
        weights = client.post("/attention", json=fields | {"return": ["weights"]}).raise_for_status().json()["weights"]
        answer = client.post("/loss", json=fields | {"losses": losses_asked}).raise_for_status().json()
    return {"weights": weights} | answer["losses"]


def by_library(query: torch.Tensor, key: torch.Tensor) -> dict[str, Any]:
    """Compute them by attnloss."""
    return {
        "weights": attention(query, key, returns=["weights"]).weights.tolist(),
        "entropy": losses.entropy(query, key).item(),
        "row_sum": losses.row_sum(query, key).item(),
    }


def sample_code(weights: torch.Tensor) -> torch.Tensor:
    """Compute the loss as the article's sample code does."""
    return -(weights * weights.sum(-1, keepdim=True).log()).sum()


def largest_sample_loss(inputs: int) -> dict[str, float]:
    """The sample code's largest loss and gradient over random inputs of many sizes and scales, in float64."""
    generator = torch.Generator().manual_seed(SEED)
    loss = gradient = 0.0
    for _ in range(inputs):
        n, m, d = (int(torch.randint(1, 30, (), generator=generator)) for _ in range(3))
        scale = 10 ** float(torch.empty(()).uniform_(-2, 2, generator=generator))
        query, key = (scale * torch.randn(rows, d, generator=generator).double() for rows in (n, m))
        query.requires_grad_()
        value = sample_code(torch.softmax(query @ key.T / math.sqrt(d), -1))
        (slope,) = torch.autograd.grad(value, query)
        loss, gradient = max(loss, abs(value.item()) / n), max(gradient, slope.abs().max().item() / scale)
    return {"loss": loss, "gradient": gradient}


def run(case: Case) -> dict[str, Any]:
    names, rows = words(case["text"])
    hand = by_hand(rows.tolist(), rows.tolist())
    return {
        "words": names,
        "hand": hand,
        "library": by_library(rows, rows),
        "service": by_service(rows.tolist(), rows.tolist()),
        "sample code": largest_sample_loss(case["random inputs"]),
    }


def difference(result: dict[str, Any], other: str) -> float:
    """The largest difference between what was computed by hand and otherwise, over weights and losses."""
    hand, told = result["hand"], result[other]
    weights = torch.tensor(hand["weights"]).double() - torch.tensor(told["weights"]).double()
    return max(weights.abs().max().item(), *(abs(hand[name] - told[name]) for name in ("entropy", "row_sum")))


def findings(runs: Sequence[Run]) -> dict[str, str]:
    (result,) = (run.result for run in runs)
    degenerate = result["sample code"]
    return {
        "entropy of the weights of “I love programming”": f"{result['hand']['entropy']:.4f} nats a word",
        "weights and losses by hand and by the library differ by": f"{difference(result, 'library'):.0e}",
        "by hand and by POST /attention and /loss": f"{difference(result, 'service'):.0e}",
        "loss of the sample code": f"{abs(result['library']['row_sum']):.0e}",
        f"its largest value over {runs[0].case['random inputs']} random inputs": f"{degenerate['loss']:.0e} a query",
        "its largest slope there, ∂loss/∂query over the inputs' scale": f"{degenerate['gradient']:.0e}",
    }


def figure(runs: Sequence[Run]) -> Figure:
    (result,) = (run.result for run in runs)
    names = result["words"]
    drawn, axes = panels(3, width=3.0, height=3.0, title_lines=2)
    for each, (title, kind) in zip(axes, (("1. scores Q Kᵀ / √d", "scores"), ("2. weights", "weights")), strict=False):
        values = torch.tensor(result["hand"][kind])
        heat_map(each, torch.softmax(values, -1) if kind == "scores" else values, title=f"{title}\n", xlabel="key")
        for i, row in enumerate(values.tolist()):
            for j, value in enumerate(row):
                shade = result["hand"]["weights"][i][j]
                each.text(j + 0.5, i + 0.5, f"{value:.2f}", ha="center", va="center", color="wk"[shade < 0.6])
        each.set_yticks([i + 0.5 for i in range(len(names))], names, rotation=90, va="center")
        each.set_xticks([i + 0.5 for i in range(len(names))], names)
        each.set_ylabel("query")
    rows = torch.tensor(result["hand"]["weights"]).double()
    entropy = -(rows * rows.log()).sum(-1)
    axes[2].bar([i - 0.2 for i in range(len(names))], entropy.tolist(), 0.38, label="−Σ p·log p", color=COLOURS[0])
    axes[2].bar(
        [i + 0.2 for i in range(len(names))], [0.0] * len(names), 0.38, label="sample code: 0", color=COLOURS[1]
    )
    axes[2].axhline(0, color=COLOURS[1])
    axes[2].set_xticks(range(len(names)), names)
    axes[2].set(title=f"3. loss of each query\nmean {entropy.mean():.3f} nats", ylabel="nats", ylim=(-0.02, 1.4))
    axes[2].legend(loc="upper left")
    return drawn


if __name__ == "__main__":
    run_alone("formula")
