"""A query should not attend again to what earlier ones have covered.

    loss_i = Σ_j min(p_ij, c_ij),   c_ij = Σ_{t<i} p_tj

    p_ij: weight of key j for query i; c_ij: what key j received from the queries before i

See et al. 2017, Get To The Point: Summarization with Pointer-Generator Networks, against repetition.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Unpack, cast

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from typing_extensions import override

from attnloss.block import Block
from attnloss.functional import Carried, State
from attnloss.loss import Loss
from attnloss.losses.public import compute, loss_function
from attnloss.options import LossOptions
from attnloss.reference import DenseMap
from attnloss.score_map import ScoreMap
from attnloss.tiles import Tile


@dataclass(frozen=True)
class Coverage(Carried):
    """Σ_j min(p_ij, c_ij); tiles pass on what keys received so far, [b, h, m]."""

    @override
    def start(self, scores: ScoreMap, tile: Tile) -> State:
        batch, heads = (part.stop - part.start for part in (tile.batch, tile.heads))
        return (scores.zeros(batch, heads, scores.shape[3]),)

    @override
    def advance(self, block: Block, state: State, *operands: Tensor) -> tuple[Tensor, State]:
        overlap, after = _overlap(block.weights, state[0])
        return overlap, (after,)

    @override
    def reference(self, dense: DenseMap, *operands: Tensor) -> Tensor:
        covered = dense.weights.cumsum(-2) - dense.weights
        return torch.minimum(dense.weights, covered).sum(-1)


class _Overlap(torch.autograd.Function):
    """Written out: autograd would keep half a dozen arrays of the tile's size, which at n = 16384 is what counts."""

    @staticmethod
    def forward(ctx: Any, weights: Tensor, covered: Tensor) -> tuple[Tensor, Tensor]:
        keys = weights.shape[-1]
        before = weights.cumsum(-2).sub_(weights).add_(covered[..., None, :keys])
        ctx.save_for_backward((weights < before).byte().mul_(2).add_(weights == before))
        after = covered + torch.nn.functional.pad(weights.sum(-2), (0, covered.shape[-1] - keys))
        return torch.minimum(weights, before, out=before).sum(-1), after

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_overlap: Tensor, grad_after: Tensor) -> tuple[Tensor, Tensor]:
        """Give the gradient to the smaller of both, half to each where they are equal."""
        (smaller,) = ctx.saved_tensors
        halves = grad_overlap[..., None] / 2
        to_before = (2 - smaller) * halves
        total = to_before.sum(-2)
        later = to_before.cumsum(-2).neg_().add_(total[..., None, :])
        del to_before
        grad_weights = later.add_(grad_after[..., None, : smaller.shape[-1]]).addcmul_(smaller.to(later.dtype), halves)
        return grad_weights, grad_after + torch.nn.functional.pad(total, (0, grad_after.shape[-1] - total.shape[-1]))


_overlap = cast("Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]", _Overlap.apply)


def build(scores: ScoreMap) -> Loss:
    """Build the loss."""
    return Loss.of(Coverage())


@loss_function(build)
def coverage(
    query: Float[Tensor, "*batch n d"], key: Float[Tensor, "*key_batch m d"], **options: Unpack[LossOptions]
) -> Float[Tensor, "*reduced"]:
    """Overlap of each query's weights with those of all queries before it, reduced.

    `options` are those of `entropy`.
    """
    return compute(query, key, build, {}, **options)
