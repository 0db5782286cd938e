"""Mean squared difference of two maps.

    loss_i = (1/M_i)·Σ_j (p_ij − r_ij)²

    p_ij, r_ij: weights of key j for query i in the request's map P and in the other map R; M_i: count of allowed keys

Weights are small where there are many keys, and so is this; `score_mse` compares before the softmax.
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
class Squares(Divergence):
    """Σ_j (p − r)²."""

    kind = "squares"

    @override
    def diverge(self, log_p: Tensor, log_r: Tensor, p: Tensor, r: Tensor) -> Tensor:
        return (p - r).square().sum(-1)


def build(scores: ScoreMap, *, other: ScoreMap | None = None, temperature: float = 1.0) -> Loss:
    """Validate the parameters and build the loss."""
    squares = Squares(second(other, "map_mse"), check_temperature(temperature))
    return Loss({"squares": squares}, lambda parts: parts["squares"] / scores.counts.clamp(min=1))


@loss_function(build)
def map_mse(
    query: Float[Tensor, "*batch n d"],
    key: Float[Tensor, "*key_batch m d"],
    other_query: Float[Tensor, "*batch n d2"],
    other_key: Float[Tensor, "*other_key_batch m d2"],
    *,
    other_scale: float | None = None,
    temperature: float = 1.0,
    **options: Unpack[LossOptions],
) -> Float[Tensor, "*reduced"]:
    """Squared difference of softmax(scale·QKᵀ) and the other map, mean over allowed keys, per query, reduced.

    The second map has its own head dim and key heads, and shares mask, causal and lengths. Scores of both
    are divided by 0.001 ≤ `temperature` < 100. `options` are those of `entropy`.
    """
    maps = (query, key, other_query, other_key)
    return compute_pair(maps, other_scale, build, {"temperature": temperature}, **options)
