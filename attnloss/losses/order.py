"""A query should look at a given position.

    loss_i = (E_i − t_i)²,   E_i = Σ_j p_ij·j

    p_ij: weight of key j for query i; t_i: `target`, a position among the keys, counted from 0

Softer than cross-entropy to that key: weights around it may balance. In tokens squared. The article behind
this project wants the order of a sequence learned; this is its regression form.
"""

from typing import Unpack

import torch
from jaxtyping import Shaped
from torch import Tensor

from attnloss import ranks
from attnloss.errors import FieldError
from attnloss.loss import Loss
from attnloss.losses.position import MeanPosition
from attnloss.losses.public import compute, loss_function
from attnloss.losses.targets import first
from attnloss.options import LossOptions
from attnloss.score_map import ScoreMap


def build(scores: ScoreMap, *, target: Shaped[Tensor, "..."] | None = None) -> Loss:
    """Validate the target positions and build the loss from the mean positions."""
    if target is None:
        raise FieldError("target", (), "order needs target, the position each query should look at; got None")
    if target.dtype == torch.bool or target.is_complex():
        raise FieldError("target", (), f"target must be positions, integers or floats, got {target.dtype}")
    lifted = ranks.lift_like(target, "target", scores.rank, scores.shape[:3]).to(scores.device, scores.dtype)
    last = scores.shape[3] - 1
    if place := first(scores.valid & ~((lifted >= 0) & (lifted <= last))):
        at = ranks.index_in(tuple(target.shape), place)
        raise FieldError("target", at, f"target{list(at)} must be within 0…{last}, got {float(target[at]):g}")
    return Loss({"position": MeanPosition()}, lambda parts: (parts["position"] - lifted).square())


@loss_function(build)
def order(
    query: Shaped[Tensor, "*batch n d"],
    key: Shaped[Tensor, "*key_batch m d"],
    *,
    target: Shaped[Tensor, "..."],
    **options: Unpack[LossOptions],
) -> Shaped[Tensor, "*reduced"]:
    """Squared distance of each query's mean position from `target`, reduced. `options` are those of `entropy`.

    `target` has shape [n] or that of the weights without m: positions within 0…m−1; integers, or floats, which
    are differentiable.
    """
    return compute(query, key, build, {"target": target}, **options)
