"""Heads should attend to different places.

    loss = mean over pairs a < b of  ⟨P^a, P^b⟩ / (‖P^a‖·‖P^b‖),   ⟨P, R⟩ = Σ_i Σ_j p_ij·r_ij

    P^a: the map of head a, over valid queries; one value per batch entry

The cosine between heads, to be made small. Li et al. 2018, Multi-Head Attention with Disagreement
Regularization, where it is a negative similarity to be made large.
"""

from typing import Unpack

import torch
from jaxtyping import Float
from torch import Tensor

from attnloss.errors import FieldError
from attnloss.loss import Loss, Parts
from attnloss.losses.heads import HeadOverlaps
from attnloss.losses.public import compute, loss_function
from attnloss.options import LossOptions
from attnloss.score_map import ScoreMap


def build(scores: ScoreMap) -> Loss:
    """Check that there are heads to compare, and build the loss."""
    heads = scores.shape[1]
    if heads < 2:
        raise FieldError("query", (), f"disagreement compares heads and needs rank 4 with 2 or more, got {heads}")

    def combine(parts: Parts) -> Tensor:
        overlaps = parts["overlaps"]
        norms = overlaps.diagonal(dim1=-2, dim2=-1)
        squares = norms[..., None] * norms[..., None, :]
        pair = (squares > 0) & torch.ones_like(overlaps[0], dtype=torch.bool).triu(1)
        cosines = torch.where(pair, overlaps / torch.where(pair, squares, 1.0).sqrt(), 0.0)
        return cosines.sum((-1, -2)) / pair.sum((-1, -2)).clamp(min=1)

    return Loss({"overlaps": HeadOverlaps()}, combine, "batch")


@loss_function(build)
def disagreement(
    query: Float[Tensor, "batch heads n d"],
    key: Float[Tensor, "batch key_heads m d"],
    **options: Unpack[LossOptions],
) -> Float[Tensor, "*reduced"]:
    """Mean cosine between the maps of two heads, one value per batch entry, reduced.

    `options` are those of `entropy`; reduction none gives [batch].
    """
    return compute(query, key, build, {}, **options)
