"""Attention as a permutation: each query attends to its own key, and each key is received once.

    loss_i = −log p_{i,π(i)} + λ·(1 − c_π(i))²,   c_j = Σ_i p_ij

    p_ij: weight of key j for query i; π: `target`, the wanted key of each query; c_j: what key j receives,
    from valid queries; λ: `penalty`

Where π names every key once the second terms sum to Σ_j (1 − c_j)², the doubly stochastic penalty of Xu et
al. 2015, Show, Attend and Tell. Attention that learns an order: Mena et al. 2018, Learning Latent
Permutations with Gumbel-Sinkhorn Networks.
"""

from typing import Unpack

from jaxtyping import Float, Int
from torch import Tensor

from attnloss import checks
from attnloss.columns import Received
from attnloss.errors import FieldError
from attnloss.loss import Loss, Parts
from attnloss.losses import targets
from attnloss.losses.public import compute, loss_function
from attnloss.losses.supervised import IndexTarget
from attnloss.options import LossOptions
from attnloss.score_map import ScoreMap


def build(scores: ScoreMap, *, target: Int[Tensor, "..."] | None = None, penalty: float = 1.0) -> Loss:
    """Validate the wanted keys and build the loss."""
    if target is None:
        raise FieldError("target", (), "permutation needs target, the wanted key of each query; got None")
    checks.within("penalty", penalty, 0.0, 1e6)
    index = targets.index(target, scores)

    def combine(parts: Parts) -> Tensor:
        received = parts["received"].gather(-1, index.expand(scores.shape[:3]))
        return parts["index"] + penalty * (1 - received).square().masked_fill(~scores.valid, 0.0)

    return Loss({"index": IndexTarget(index, 0.0), "received": Received()}, combine)


@loss_function(build)
def permutation(
    query: Float[Tensor, "*batch n d"],
    key: Float[Tensor, "*key_batch m d"],
    *,
    target: Int[Tensor, "..."],
    penalty: float = 1.0,
    **options: Unpack[LossOptions],
) -> Float[Tensor, "*reduced"]:
    """Cross-entropy to the wanted keys, with a penalty on what they receive, per query, reduced.

    `target` are integers of shape [n] or that of the weights without m; 0 ≤ `penalty` < 10⁶. `options` are those
    of `entropy`. Raises FieldError where a query may not attend to its key.
    """
    return compute(query, key, build, {"target": target, "penalty": penalty}, **options)
