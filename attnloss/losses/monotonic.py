"""A query should not look further back than the one before it.

    loss_i = max(E_i − E_{i+1}, 0),   E_i = Σ_j p_ij·j          p_ij: weight of key j for query i

In tokens; 0 at the last valid query, and where the next one may attend to nothing. After Raffel et al. 2017,
Online and Linear-Time Attention by Enforcing Monotonic Alignments, as a soft penalty.
"""

from typing import Unpack

import torch
from jaxtyping import Float
from torch import Tensor

from attnloss.loss import Loss, Parts
from attnloss.losses.position import MeanPosition
from attnloss.losses.public import compute, loss_function
from attnloss.options import LossOptions
from attnloss.score_map import ScoreMap


def build(scores: ScoreMap) -> Loss:
    """Build the loss from the mean positions."""

    def combine(parts: Parts) -> Tensor:
        mean = parts["position"]
        back = torch.nn.functional.pad((mean[..., :-1] - mean[..., 1:]).relu(), (0, 1))
        valid = scores.valid
        both = torch.nn.functional.pad(valid[..., :-1] & valid[..., 1:], (0, 1))
        return torch.where(both, back, 0.0)

    return Loss({"position": MeanPosition()}, combine)


@loss_function(build)
def monotonic(
    query: Float[Tensor, "*batch n d"], key: Float[Tensor, "*key_batch m d"], **options: Unpack[LossOptions]
) -> Float[Tensor, "*reduced"]:
    """How far the mean position goes back from each query to the next, reduced. `options` are those of `entropy`."""
    return compute(query, key, build, {}, **options)
