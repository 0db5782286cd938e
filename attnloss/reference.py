"""The reference twins: dense, eager, float64, and obvious. Every fast path is tested against them."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from attnloss.score_map import ScoreMap
from attnloss.scores import per_query_head
from attnloss.tiles import Tile


@dataclass(frozen=True, eq=False)
class DenseMap:
    """The whole map in float64; at masked keys logits and log_weights are 0 where −∞ would make 0·−∞ a NaN."""

    weights: Float[Tensor, "B H n m"]
    log_weights: Float[Tensor, "B H n m"]
    logits: Float[Tensor, "B H n m"]
    lse: Float[Tensor, "B H n"]
    allowed: Bool[Tensor, "B H n m"]
    query_ends: Int[Tensor, " B"]
    key_ends: Int[Tensor, " B"]

    @property
    def counts(self) -> Int[Tensor, "B H n"]:
        """How many keys each query may attend to."""
        return self.allowed.sum(-1)


def dense(scores: ScoreMap) -> DenseMap:
    """Compute the map that `scores` describes."""
    batch, heads, n, m = scores.shape
    everything = Tile(slice(0, batch), slice(0, heads), slice(0, scores.key_heads), slice(0, n), m)
    allowed = scores.allowed(everything)
    if allowed is None:
        allowed = torch.ones(1, 1, n, m, dtype=torch.bool, device=scores.device)
    allowed = allowed.expand(batch, heads, n, m)
    cells = scores.cells([operand.tensor.double() for operand in scores.operands], None)
    logits = cells.masked_fill(~allowed, -torch.inf)
    empty = ~allowed.any(-1, keepdim=True)
    log_weights = logits.masked_fill(empty, 0.0).log_softmax(-1).masked_fill(~allowed, 0.0)
    weights = logits.masked_fill(empty, 0.0).softmax(-1).masked_fill(~allowed, 0.0)
    lse = logits.masked_fill(empty, 0.0).logsumexp(-1).masked_fill(empty[..., 0], -torch.inf)
    ends = [torch.as_tensor(end, device=scores.device).expand(batch) for end in (scores.query_end, scores.key_end)]
    return DenseMap(weights, log_weights, logits.masked_fill(~allowed, 0.0), lse, allowed, *ends)


def widened(operand: Tensor) -> Tensor:
    """Give a float operand the dtype of the twins."""
    return operand.double() if operand.is_floating_point() else operand


def expect(dense: DenseMap, features: Float[Tensor, "B Hkv m f"]) -> Float[Tensor, "B H n f"]:
    """Σ_j p_ij·x_j."""
    return dense.weights @ per_query_head(features, dense.weights.shape[1])


def entropy(dense: DenseMap) -> Float[Tensor, "B H n"]:
    """−Σ_j p_ij·log p_ij."""
    return -(dense.weights * dense.log_weights).sum(-1)


def largest(dense: DenseMap) -> Float[Tensor, "B H n"]:
    """max_j p_ij."""
    return dense.weights.amax(-1)


def top_index(dense: DenseMap, count: int) -> Int[Tensor, "B H n k"]:
    """argsort_j p_ij: descending, ties to the lower index, −1 where fewer keys are allowed."""
    ranked = dense.weights.masked_fill(~dense.allowed, -1.0)
    weight, index = ranked.sort(dim=-1, descending=True, stable=True)
    return index.masked_fill(weight < 0, -1)[..., :count]
