"""The sample code of the article behind this project, kept so that a reader can check that it is 0.

    loss_i = −Σ_j p_ij·log(Σ_k p_ik)          p_ij: weight of key j for query i

Each row of a softmax sums to 1, so the logarithm is 0 for every input up to rounding, and so is the
gradient. It teaches nothing: use `entropy`, which the article's prose describes, or `cross_entropy`.
"""

from typing import Unpack

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from attnloss import reference
from attnloss.block import Block
from attnloss.functional import Functional
from attnloss.losses.public import compute
from attnloss.options import LossOptions
from attnloss.reference import DenseMap
from attnloss.scores import Scores


class RowSum(Functional):
    """−Σ_j p_ij·log(Σ_k p_ik) from the float weights as they are."""

    @override
    def from_block(self, block: Block, *operands: Tensor) -> Tensor:
        total = block.weights.sum(-1)
        return -torch.xlogy(total, total)

    @override
    def reference(self, dense: DenseMap, *operands: Tensor) -> Tensor:
        return reference.row_sum(dense)


def functional(scores: Scores) -> RowSum:
    """Build the loss."""
    return RowSum()


def row_sum(
    query: Float[Tensor, "*batch n d"], key: Float[Tensor, "*key_batch m d"], **options: Unpack[LossOptions]
) -> Float[Tensor, "*reduced"]:
    """−Σ_j p_ij·log(Σ_k p_ik) per query, reduced: 0 for every input, see the module.

    Options and errors are those of `attnloss.losses.entropy`.
    """
    return compute(query, key, functional, {}, **options)
