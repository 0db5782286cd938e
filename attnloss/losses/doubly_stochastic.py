"""Every key should be attended to about once.

    loss = Σ_j (1 − c_j)²,   c_j = Σ_i p_ij

    p_ij: weight of key j for query i; c_j: what valid key j receives from valid queries; one value per head

Xu et al. 2015, Show, Attend and Tell, equation 14, where an image region is a key and a word a query.
"""

from typing import Unpack

import torch
from jaxtyping import Float
from torch import Tensor

from attnloss.columns import Received
from attnloss.loss import Loss, Parts
from attnloss.losses.public import compute, loss_function
from attnloss.options import LossOptions
from attnloss.score_map import ScoreMap


def build(scores: ScoreMap) -> Loss:
    """Build the loss from what keys receive."""

    def combine(parts: Parts) -> Tensor:
        miss = (1 - parts["received"]).square()
        if scores.key_lengths is not None:
            j = torch.arange(scores.shape[3], device=scores.device)
            miss = torch.where(j < scores.key_lengths[:, None, None], miss, 0.0)
        return miss.sum(-1)

    return Loss({"received": Received()}, combine, "head")


@loss_function(build)
def doubly_stochastic(
    query: Float[Tensor, "*batch n d"], key: Float[Tensor, "*key_batch m d"], **options: Unpack[LossOptions]
) -> Float[Tensor, "*reduced"]:
    """Squared distance of what each key receives from 1, summed over keys; one value per head, reduced.

    `options` are those of `entropy`; reduction none gives [batch, heads] in the rank of the request.
    """
    return compute(query, key, build, {}, **options)
