"""Keep the entropy of the weights near a wanted value.

    loss_i = (H_i − τ)²          H_i: entropy of query i in nats; τ: `tau`

A penalty against collapse (H → 0) and against washing out at once; Zhai et al. 2023 show what collapse does.
"""

from typing import Unpack

from jaxtyping import Float
from torch import Tensor

from attnloss import checks
from attnloss.loss import Loss
from attnloss.losses.public import compute, loss_function
from attnloss.options import LossOptions
from attnloss.score_map import ScoreMap
from attnloss.statistics import Entropy


def build(scores: ScoreMap, *, tau: float = 0.0) -> Loss:
    """Validate tau and build the loss from the entropy."""
    checks.within("tau", tau, 0.0, 1e6)
    return Loss({"entropy": Entropy()}, lambda parts: (parts["entropy"] - tau).square())


@loss_function(build)
def target_entropy(
    query: Float[Tensor, "*batch n d"],
    key: Float[Tensor, "*key_batch m d"],
    *,
    tau: float = 0.0,
    **options: Unpack[LossOptions],
) -> Float[Tensor, "*reduced"]:
    """Squared distance of each query's entropy from 0 ≤ `tau` < 10⁶ nats, reduced. `options` are those of `entropy`."""
    return compute(query, key, build, {"tau": tau}, **options)
