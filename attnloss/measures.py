"""Measures of the map that are no losses: effective keys, sinks by count, top mass, rollout."""

from collections.abc import Sequence
from typing import Unpack

import torch
from jaxtyping import Float
from torch import Tensor

from attnloss import checks, ranks
from attnloss.columns import Received, WeightedReceived
from attnloss.errors import FieldError
from attnloss.losses.sink import check_keys
from attnloss.options import ScoreOptions
from attnloss.score_map import ScoreMap
from attnloss.scores import make_scores
from attnloss.statistics import Entropy
from attnloss.streaming import evaluate
from attnloss.top import TopWeight


def effective_keys(
    query: Float[Tensor, "*batch n d"],
    key: Float[Tensor, "*key_batch m d"],
    *,
    backend: str = "auto",
    **options: Unpack[ScoreOptions],
) -> Float[Tensor, "*batch n"]:
    """Compute e^H per query: how many keys it would attend to if it did so evenly; 0 for a fully masked one.

    Takes the options of `attnloss.attention` and raises FieldError as it does.
    """
    scores = make_scores(query, key, **options)
    entropy = evaluate(scores, {"entropy": Entropy()}, backend=backend).values["entropy"]
    return ranks.restore(torch.where(scores.valid, entropy.exp(), 0.0), scores.rank)


def top_mass(
    query: Float[Tensor, "*batch n d"],
    key: Float[Tensor, "*key_batch m d"],
    *,
    top_k: int,
    backend: str = "auto",
    **options: Unpack[ScoreOptions],
) -> Float[Tensor, "*batch n"]:
    """Sum the `top_k` largest weights of each query, in O(n·d) memory.

    Takes the options of `attnloss.attention` and raises FieldError as it does.
    """
    scores = make_scores(query, key, **options)
    wanted = {"top": TopWeight(checks.top_count(top_k, scores.shape[3]))}
    return ranks.restore(evaluate(scores, wanted, backend=backend).values["top"].sum(-1), scores.rank)


@torch.no_grad()
def sink_rate(
    query: Float[Tensor, "*batch n d"],
    key: Float[Tensor, "*key_batch m d"],
    *,
    keys: Sequence[int] = (0,),
    threshold: float = 0.3,
    backend: str = "auto",
    **options: Unpack[ScoreOptions],
) -> Float[Tensor, " keys"]:
    """Share of heads for which each of `keys` is a sink: its mean weight is over `threshold`.

    The mean is over the queries that may attend to the key; heads of all batch entries count alike, those
    where no query may attend to it not at all. Gu et al. 2024, When Attention Sink Emerges in Language Models,
    with ε = 0.3. Not differentiable. Raises FieldError as `attnloss.attention` does.
    """
    scores = make_scores(query, key, **options)
    check_keys(keys, scores.shape[3])
    received = evaluate(scores, {"received": Received()}, backend=backend).values["received"]
    chosen = torch.as_tensor(list(keys), device=scores.device)
    seen = _queries_that_see(scores, chosen)
    over = received[..., chosen] > threshold * seen
    return (over & (seen > 0)).sum((0, 1)) / (seen > 0).sum((0, 1)).clamp(min=1).to(scores.dtype)


def _queries_that_see(scores: ScoreMap, chosen: Tensor) -> Float[Tensor, "B H keys"]:
    """Count the queries that may attend to each of the chosen keys."""
    batch, heads, n, _ = scores.shape
    counts = [
        scores.allows(key.expand(batch, heads, n)).expand(batch, heads, n).sum(-1, dtype=scores.dtype) for key in chosen
    ]
    return torch.stack(counts, -1)


def rollout(
    queries: Sequence[Float[Tensor, "*batch n d"]],
    keys: Sequence[Float[Tensor, "*key_batch n d"]],
    *,
    row: int,
    residual: float = 0.5,
    backend: str = "auto",
    **options: Unpack[ScoreOptions],
) -> Float[Tensor, "*entry n"]:
    """Compute one row of attention rollout: how much of each input token reaches token `row` of the last layer.

    Layers come first to last; each mixes (1 − residual)·P + residual·I, P being the mean map over its heads.
    One row goes back through the layers in O(n·d) memory. Abnar and Zuidema 2020, Quantifying Attention Flow
    in Transformers, whose residual is ½. The row sums to 1; a fully masked token passes itself on. Result
    [n], or [batch, n] for inputs with a batch.

    Raises FieldError where layers disagree in shape, n differs from m, or a value is out of range.
    """
    if not queries or len(queries) != len(keys):
        raise FieldError("keys", (), f"keys must be one per layer, as queries are, got {len(keys)} and {len(queries)}")
    checks.within("residual", residual, 0.0, 1.0)
    mixed: Tensor | None = None
    rank = 2
    for layer in reversed(range(len(queries))):
        scores = make_scores(queries[layer], keys[layer], **options)
        batch, heads, n, m = scores.shape
        if n != m or not 0 <= row < n:
            raise FieldError("row", (), f"row must be within 0…{n - 1} of a square map, got {row} and {n} × {m}")
        if mixed is None:
            mixed, rank = scores.zeros(batch, n), scores.rank
            mixed[:, row] = 1.0
        if mixed.shape != (batch, n):
            came = f"{list(queries[layer].shape)} after {list(queries[-1].shape)}"
            raise FieldError("queries", (layer,), f"layers must have one batch and n, got {came}")
        spread = mixed[:, None].expand(batch, heads, n)
        received = evaluate(scores, {"row": WeightedReceived(spread)}, backend=backend).values["row"]
        kept = torch.where(scores.valid, 0.0, mixed[:, None]).expand(batch, heads, n)
        mixed = (1 - residual) * (received + kept).mean(1) + residual * mixed
    assert mixed is not None
    return mixed[0] if rank == 2 else mixed
