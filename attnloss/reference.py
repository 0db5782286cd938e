"""The reference twins: dense, eager, float64, and obvious. Every fast path is tested against them."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from attnloss.scores import Scores
from attnloss.tiles import Tile


@dataclass(frozen=True, eq=False)
class DenseMap:
    """The whole map in float64; at masked keys log_weights is 0 where −∞ would make 0·log 0 a NaN."""

    weights: Float[Tensor, "B H n m"]
    log_weights: Float[Tensor, "B H n m"]
    lse: Float[Tensor, "B H n"]
    allowed: Bool[Tensor, "B H n m"]
    query: Float[Tensor, "B H n d"]
    key: Float[Tensor, "B H m d"]


def dense(scores: Scores) -> DenseMap:
    """Compute the map that `scores` describes."""
    batch, heads, n, m = scores.shape
    query = scores.query.double()
    key = _per_query_head(scores.key.double(), heads)
    everything = Tile(slice(0, batch), slice(0, heads), slice(0, scores.key.shape[1]), slice(0, n), m)
    allowed = scores.allowed(everything)
    if allowed is None:
        allowed = torch.ones(1, 1, n, m, dtype=torch.bool, device=query.device)
    allowed = allowed.expand(batch, heads, n, m)
    logits = (scores.scale * query @ key.mT).masked_fill(~allowed, -torch.inf)
    empty = ~allowed.any(-1, keepdim=True)
    log_weights = logits.masked_fill(empty, 0.0).log_softmax(-1).masked_fill(~allowed, 0.0)
    weights = logits.masked_fill(empty, 0.0).softmax(-1).masked_fill(~allowed, 0.0)
    lse = logits.masked_fill(empty, 0.0).logsumexp(-1).masked_fill(empty[..., 0], -torch.inf)
    return DenseMap(weights, log_weights, lse, allowed, query, key)


def widened(operand: Tensor) -> Tensor:
    """Give a float operand the dtype of the twins."""
    return operand.double() if operand.is_floating_point() else operand


def _per_query_head(tensor: Tensor, heads: int) -> Tensor:
    return tensor.repeat_interleave(heads // tensor.shape[1], 1)


def expect(dense: DenseMap, features: Float[Tensor, "B Hkv m f"]) -> Float[Tensor, "B H n f"]:
    """Σ_j p_ij·x_j."""
    return dense.weights @ _per_query_head(features, dense.weights.shape[1])


def entropy(dense: DenseMap) -> Float[Tensor, "B H n"]:
    """−Σ_j p_ij·log p_ij."""
    return -(dense.weights * dense.log_weights).sum(-1)


def largest(dense: DenseMap) -> Float[Tensor, "B H n"]:
    """max_j p_ij."""
    return dense.weights.amax(-1)


def received(dense: DenseMap) -> Float[Tensor, "B H m"]:
    """Σ_i p_ij."""
    return dense.weights.sum(-2)


def top_index(dense: DenseMap, count: int) -> Int[Tensor, "B H n k"]:
    """argsort_j p_ij: descending, ties to the lower index, −1 where fewer keys are allowed."""
    ranked = dense.weights.masked_fill(~dense.allowed, -1.0)
    weight, index = ranked.sort(dim=-1, descending=True, stable=True)
    return index.masked_fill(weight < 0, -1)[..., :count]


def cross_entropy_index(dense: DenseMap, index: Int[Tensor, "#B #H n"], eps: float) -> Float[Tensor, "B H n"]:
    """−log p_{i,a_i}, 0 where nothing is allowed."""
    place = index.expand(dense.lse.shape).clamp(0, dense.weights.shape[-1] - 1)[..., None]
    loss = -_log(dense.weights, dense.log_weights, eps).gather(-1, place)[..., 0]
    return loss.masked_fill(~dense.allowed.any(-1), 0.0)


def cross_entropy_target(dense: DenseMap, target: Float[Tensor, "#B #H n m"], eps: float) -> Float[Tensor, "B H n"]:
    """−Σ_j target_ij·log p_ij over the allowed keys."""
    return -(target * _log(dense.weights, dense.log_weights, eps) * dense.allowed).sum(-1)


def cross_entropy_probability(
    dense: DenseMap, probability: Float[Tensor, "#B #H n m"], eps: float
) -> Float[Tensor, "B H n"]:
    """−Σ_j p_ij·log probability_ij, 0·log 0 = 0."""
    return -torch.xlogy(dense.weights, probability.clamp(min=eps)).sum(-1)


def _log(weights: Tensor, log_weights: Tensor, eps: float) -> Tensor:
    return weights.clamp(min=eps).log() if eps > 0 else log_weights


def row_sum(dense: DenseMap) -> Float[Tensor, "B H n"]:
    """−Σ_j p_ij·log(Σ_j p_ij), 0 where nothing is allowed."""
    return -torch.xlogy(dense.weights, dense.weights.sum(-1, keepdim=True)).sum(-1)
