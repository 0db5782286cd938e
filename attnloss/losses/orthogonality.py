"""The heads' weights of a query should be orthonormal.

    loss = mean over valid queries i of  ‖A_i·A_iᵀ − I‖²_F,   A_i = [p^1_i, …, p^H_i]

    p^a_i: the weights of query i in head a; one value per batch entry

Heads that differ, each on few keys: the diagonal asks Σ_j p² = 1. Lin et al. 2017, A Structured Self-attentive
Sentence Embedding, where heads are hops over one sentence.
"""

from typing import Unpack

import torch
from jaxtyping import Float
from torch import Tensor

from attnloss.loss import Loss, Parts
from attnloss.losses.heads import HeadOrthogonality
from attnloss.losses.public import compute, loss_function
from attnloss.options import LossOptions
from attnloss.score_map import ScoreMap


def build(scores: ScoreMap) -> Loss:
    """Build the loss."""
    valid = scores.valid.any(1)

    def combine(parts: Parts) -> Tensor:
        kept = torch.where(valid, parts["norm"][:, 0], 0.0)
        return kept.sum(-1) / valid.sum(-1).clamp(min=1)

    return Loss({"norm": HeadOrthogonality()}, combine, "batch")


@loss_function(build)
def orthogonality(
    query: Float[Tensor, "*batch n d"], key: Float[Tensor, "*key_batch m d"], **options: Unpack[LossOptions]
) -> Float[Tensor, "*reduced"]:
    """Squared distance of the heads' overlaps from orthonormal, mean over queries, per batch entry, reduced.

    `options` are those of `entropy`; reduction none gives [batch].
    """
    return compute(query, key, build, {}, **options)
