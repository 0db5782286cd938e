"""Spread of the keys that a query attends to.

    loss_i = Σ_j p_ij·(j − E_i)²,   E_i = Σ_j p_ij·j

    p_ij: weight of key j for query i; in tokens squared

0 for a query on one key. Written around its mean: E[j²] − E[j]² would lose all digits far from 0. Raffel et
al. 2017, Online and Linear-Time Attention by Enforcing Monotonic Alignments, is about what it rewards.
"""

from dataclasses import dataclass
from typing import Unpack

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from attnloss.block import Block
from attnloss.functional import Functional
from attnloss.loss import Loss
from attnloss.losses.position import mean_position
from attnloss.losses.public import compute, loss_function
from attnloss.options import LossOptions
from attnloss.reference import DenseMap
from attnloss.score_map import ScoreMap


@dataclass(frozen=True)
class Variance(Functional):
    """Σ_j p_ij·(j − E_i)²."""

    @override
    def from_block(self, block: Block, *operands: Tensor) -> Tensor:
        j = block.scores.positions(block.tile)[1].to(block.scores.dtype)
        return block.mean_of((j - mean_position(block)[..., None]).square())

    @override
    def reference(self, dense: DenseMap, *operands: Tensor) -> Tensor:
        j = torch.arange(dense.weights.shape[-1], device=dense.weights.device).double()
        mean = (dense.weights * j).sum(-1, keepdim=True)
        return (dense.weights * (j - mean).square()).sum(-1)


def build(scores: ScoreMap) -> Loss:
    """Build the loss."""
    return Loss.of(Variance())


@loss_function(build)
def variance(
    query: Float[Tensor, "*batch n d"], key: Float[Tensor, "*key_batch m d"], **options: Unpack[LossOptions]
) -> Float[Tensor, "*reduced"]:
    """Variance of the attended position per query, reduced. `options` are those of `entropy`."""
    return compute(query, key, build, {}, **options)
