"""Kullback-Leibler divergence of the maps, taken from the other one.

    loss_i = KL(R_i‖P_i) = Σ_j r_ij·log(r_ij / p_ij)

    p_ij, r_ij: weights of key j for query i in the request's map P and in the other map R; 0·log 0 = 0

In nats. With R a teacher it is the direction of knowledge distillation: P must cover all that R attends to.
Hinton et al. 2015, Distilling the Knowledge in a Neural Network; its factor T² is left to `weight`.
"""

from dataclasses import dataclass
from typing import Unpack

from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from attnloss.loss import Loss
from attnloss.losses.pair import Divergence, check_support, check_temperature, second
from attnloss.losses.public import compute_pair, loss_function
from attnloss.options import LossOptions
from attnloss.score_map import ScoreMap


@dataclass(frozen=True, eq=False)
class ReverseKl(Divergence):
    """Σ_j r·(log r − log p)."""

    kind = "reverse_kl"

    @override
    def diverge(self, log_p: Tensor, log_r: Tensor, p: Tensor, r: Tensor) -> Tensor:
        return (r * (log_r - log_p)).sum(-1)


def build(scores: ScoreMap, *, other: ScoreMap | None = None, temperature: float = 1.0) -> Loss:
    """Validate the parameters and build the loss."""
    other = second(other, "reverse_kl")
    check_support(scores, other, of_other=True)
    return Loss.of(ReverseKl(other, check_temperature(temperature)))


@loss_function(build)
def reverse_kl(
    query: Float[Tensor, "*batch n d"],
    key: Float[Tensor, "*key_batch m d"],
    other_query: Float[Tensor, "*batch n d2"],
    other_key: Float[Tensor, "*other_key_batch m d2"],
    *,
    other_scale: float | None = None,
    temperature: float = 1.0,
    **options: Unpack[LossOptions],
) -> Float[Tensor, "*reduced"]:
    """KL divergence from the other map R to softmax(scale·QKᵀ) = P, KL(R‖P), per query, reduced.

    The second map has its own head dim and key heads, and shares mask, causal and lengths. Scores of both
    are divided by 0.001 ≤ `temperature` < 100. `options` are those of `entropy`.
    """
    maps = (query, key, other_query, other_key)
    return compute_pair(maps, other_scale, build, {"temperature": temperature}, **options)
