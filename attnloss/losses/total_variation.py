"""Total variation distance of two maps.

    loss_i = ½·Σ_j |p_ij − r_ij|

    p_ij, r_ij: weights of key j for query i in the request's map P and in the other map R

The share of the weight that would have to move: 0 for equal maps, 1 for maps that share no key. Used by Jain and
Wallace 2019, Attention is not Explanation, to compare maps.
"""

from dataclasses import dataclass
from typing import Unpack

from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from attnloss.loss import Loss
from attnloss.losses.pair import Divergence, check_temperature, second
from attnloss.losses.public import compute_pair, loss_function
from attnloss.options import LossOptions
from attnloss.score_map import ScoreMap


@dataclass(frozen=True, eq=False)
class TotalVariation(Divergence):
    """½ Σ_j |p − r|."""

    kind = "total_variation"

    @override
    def diverge(self, log_p: Tensor, log_r: Tensor, p: Tensor, r: Tensor) -> Tensor:
        return (p - r).abs().sum(-1) / 2


def build(scores: ScoreMap, *, other: ScoreMap | None = None, temperature: float = 1.0) -> Loss:
    """Validate the parameters and build the loss."""
    return Loss.of(TotalVariation(second(other, "total_variation"), check_temperature(temperature)))


@loss_function(build)
def total_variation(
    query: Float[Tensor, "*batch n d"],
    key: Float[Tensor, "*key_batch m d"],
    other_query: Float[Tensor, "*batch n d2"],
    other_key: Float[Tensor, "*other_key_batch m d2"],
    *,
    other_scale: float | None = None,
    temperature: float = 1.0,
    **options: Unpack[LossOptions],
) -> Float[Tensor, "*reduced"]:
    """Total variation distance of softmax(scale·QKᵀ) and the other map, per query, reduced.

    The second map has its own head dim and key heads, and shares mask, causal and lengths. Scores of both
    are divided by 0.001 ≤ `temperature` < 100. `options` are those of `entropy`.
    """
    maps = (query, key, other_query, other_key)
    return compute_pair(maps, other_scale, build, {"temperature": temperature}, **options)
