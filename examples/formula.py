"""The formula by hand, by the library and by the service, on "I love programming"; and the sample code's zero.

The article: Weight = softmax(Q Kᵀ / √d), Loss = −Σ Weight · log(Probability). Its sample code puts the row sums of the
weights in the place of Probability. A row of a softmax sums to 1, log 1 = 0, and every term is 0, whatever Q and K
are; so is the gradient. Its prose says what was probably meant: the attention distribution itself, so that the loss is
the entropy; or, where something is known of where to attend, the cross-entropy to it.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from transformers import AutoModelForCausalLM, AutoTokenizer

from attnloss import attention, losses
from docs.plots.canvas import CELL, heat_map, panels
from examples.study import ROOT, Case, Run, run_alone

MODEL = ROOT / "service" / "models" / "default"
TEXT = "I love programming"
SEED = 0
"""Of the random queries and keys on which the sample code's loss is computed."""


def cases(*, full: bool) -> list[Case]:
    return [{"text": TEXT, "random inputs": 1000 if full else 100}]


def words(text: str) -> tuple[list[str], torch.Tensor]:
    """The words of a text and their embeddings [n, d], those of the default model, to length √d."""
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    table = AutoModelForCausalLM.from_pretrained(MODEL).get_input_embeddings().weight.detach()
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    rows = torch.nn.functional.normalize(table[ids].double(), dim=-1) * math.sqrt(table.shape[1])
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


def by_service(query: list[list[float]], key: list[list[float]]) -> dict[str, Any]:
    """Ask a server, started for it and ended again, by POST /attention and POST /loss."""
    from service.client import Client
    from tests.serving import running_server

    with running_server() as server, Client(f"http://127.0.0.1:{server.port}") as client:
        q, k = np.array(query), np.array(key)
        weights = client.attention(q, k, returns=["weights"], dtype="float64").weights
        answer = client.loss(q, k, losses=[{"name": "entropy"}, {"name": "row_sum"}], dtype="float64")
    return {"weights": weights.tolist()} | answer.losses


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
