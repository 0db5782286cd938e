"""Fenchel-Young loss of sparsemax: `entmax` with α = 2.

    loss_i = ½·(‖t_i‖² − ‖p*_i‖²) + Σ_j (p*_ij − t_ij)·s_ij

    s_ij: score of key j for query i; p*: the distribution nearest to the scores; t: `target`

0 where the target's score leads by 1. Martins and Astudillo 2016, From Softmax to Sparsemax.
"""

from typing import Unpack

from jaxtyping import Float, Shaped
from torch import Tensor

from attnloss.loss import Loss
from attnloss.losses.entmax import build as build_entmax
from attnloss.losses.public import compute, loss_function
from attnloss.options import LossOptions
from attnloss.score_map import ScoreMap


def build(scores: ScoreMap, *, target: Shaped[Tensor, "..."] | None = None, kind: str | None = None) -> Loss:
    """Validate the target and build the loss."""
    return build_entmax(scores, target=target, kind=kind, alpha=2.0, name="sparsemax")


@loss_function(build)
def sparsemax(
    query: Float[Tensor, "*batch n d"],
    key: Float[Tensor, "*key_batch m d"],
    *,
    target: Shaped[Tensor, "..."],
    kind: str | None = None,
    **options: Unpack[LossOptions],
) -> Float[Tensor, "*reduced"]:
    """Fenchel-Young loss of sparsemax of the scores to a target, per query, reduced.

    `target` is an index or dense, as for `cross_entropy`. `options` are those of `entropy`. Raises FieldError
    where a query may not attend to its target.
    """
    return compute(query, key, build, {"target": target, "kind": kind}, **options)
