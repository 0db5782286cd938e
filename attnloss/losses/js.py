"""Jensen-Shannon divergence of two maps.

    loss_i = ½·KL(P_i‖M_i) + ½·KL(R_i‖M_i),   M = (P + R)/2

    p_ij, r_ij: weights of key j for query i in the request's map P and in the other map R; 0·log 0 = 0

Symmetric, between 0 and log 2. Lin 1991, Divergence Measures Based on the Shannon Entropy.
log(p/m) is written −log1p(expm1(log r − log p)/2), which keeps its digits where the maps are close.
"""

from dataclasses import dataclass
from typing import Unpack

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from attnloss.loss import Loss
from attnloss.losses.pair import Divergence, check_temperature, second
from attnloss.losses.public import compute_pair, loss_function
from attnloss.options import LossOptions
from attnloss.score_map import ScoreMap


@dataclass(frozen=True, eq=False)
class JensenShannon(Divergence):
    """½ Σ_j [p·log(p/m) + r·log(r/m)], m = (p + r)/2."""

    kind = "js"

    @override
    def diverge(self, log_p: Tensor, log_r: Tensor, p: Tensor, r: Tensor) -> Tensor:
        change = (log_r - log_p).clamp(-80.0, 80.0)
        from_p = -torch.log1p(torch.expm1(change) / 2)
        from_r = -torch.log1p(torch.expm1(-change) / 2)
        return (p * from_p + r * from_r).sum(-1) / 2


def build(scores: ScoreMap, *, other: ScoreMap | None = None, temperature: float = 1.0) -> Loss:
    """Validate the parameters and build the loss."""
    return Loss.of(JensenShannon(second(other, "js"), check_temperature(temperature)))


@loss_function(build)
def js(
    query: Float[Tensor, "*batch n d"],
    key: Float[Tensor, "*key_batch m d"],
    other_query: Float[Tensor, "*batch n d2"],
    other_key: Float[Tensor, "*other_key_batch m d2"],
    *,
    other_scale: float | None = None,
    temperature: float = 1.0,
    **options: Unpack[LossOptions],
) -> Float[Tensor, "*reduced"]:
    """Jensen-Shannon divergence of softmax(scale·QKᵀ) and the other map, per query, reduced.

    The second map has its own head dim and key heads, and shares mask, causal and lengths. Scores of both
    are divided by 0.001 ≤ `temperature` < 100. `options` are those of `entropy`.
    """
    maps = (query, key, other_query, other_key)
    return compute_pair(maps, other_scale, build, {"temperature": temperature}, **options)
