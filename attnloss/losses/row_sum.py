"""The article's sample code, kept as it is so that a reader can check that it is 0.

    loss_i = −Σ_j p_ij·log(Σ_j p_ij)          p_ij: weight of key j for query i

Each row of a softmax sums to 1, so this is 0 for every input and its gradient is 0: it teaches nothing. What
was probably meant is `entropy`, or `cross_entropy` with a probability.
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
from attnloss.losses.public import compute, loss_function
from attnloss.options import LossOptions
from attnloss.reference import DenseMap
from attnloss.score_map import ScoreMap


@dataclass(frozen=True)
class RowSum(Functional):
    """−Σ_j p_ij·log(Σ_j p_ij), 0 where nothing is allowed."""

    @override
    def from_block(self, block: Block, *operands: Tensor) -> Tensor:
        row_sum = block.weights.sum(-1)
        return -torch.xlogy(row_sum, row_sum)

    @override
    def reference(self, dense: DenseMap, *operands: Tensor) -> Tensor:
        return -torch.xlogy(dense.weights, dense.weights.sum(-1, keepdim=True)).sum(-1)


def build(scores: ScoreMap) -> Loss:
    """Build the loss."""
    return Loss.of(RowSum())


@loss_function(build)
def row_sum(
    query: Float[Tensor, "*batch n d"], key: Float[Tensor, "*key_batch m d"], **options: Unpack[LossOptions]
) -> Float[Tensor, "*reduced"]:
    """−Σ_j p·log(Σ_j p) per query, reduced: 0 but for rounding. `options` are those of `entropy`."""
    return compute(query, key, build, {}, **options)
