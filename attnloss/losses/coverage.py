"""A query should not attend again to what earlier ones have covered.

    loss_i = Σ_j min(p_ij, c_ij),   c_ij = Σ_{t<i} p_tj

    p_ij: weight of key j for query i; c_ij: what key j received from the queries before i

See et al. 2017, Get To The Point: Summarization with Pointer-Generator Networks, against repetition.
"""

from dataclasses import dataclass
from typing import Unpack

import torch
from jaxtyping import Float
from torch import Tensor
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
        weights, (covered,) = block.weights, state
        keys = weights.shape[-1]
        within = torch.nn.functional.pad(weights[..., :-1, :].cumsum(-2), (0, 0, 1, 0))
        before = covered[..., None, :keys] + within
        after = covered + torch.nn.functional.pad(weights.sum(-2), (0, covered.shape[-1] - keys))
        return torch.minimum(weights, before).sum(-1), (after,)

    @override
    def reference(self, dense: DenseMap, *operands: Tensor) -> Tensor:
        covered = dense.weights.cumsum(-2) - dense.weights
        return torch.minimum(dense.weights, covered).sum(-1)


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
