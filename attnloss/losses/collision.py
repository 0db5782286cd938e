"""Collision entropy of the attention weights: the Rényi entropy of order 2.

    C_i = −log Σ_j p_ij²          p_ij: weight of key j for query i; in nats

exp(−C_i) is the probability that two keys drawn by the weights are the same one. Never above the entropy.
"""

from typing import Unpack

from jaxtyping import Float
from torch import Tensor

from attnloss.loss import Loss
from attnloss.losses.public import compute, loss_function
from attnloss.losses.renyi import Renyi
from attnloss.options import LossOptions
from attnloss.score_map import ScoreMap


def build(scores: ScoreMap) -> Loss:
    """Build the loss."""
    return Loss.of(Renyi(2.0))


@loss_function(build)
def collision(
    query: Float[Tensor, "*batch n d"], key: Float[Tensor, "*key_batch m d"], **options: Unpack[LossOptions]
) -> Float[Tensor, "*reduced"]:
    """Collision entropy −log Σ_j p² per query, reduced. `options` are those of `entropy`."""
    return compute(query, key, build, {}, **options)
