"""Entropy as a share of the largest that a query could have.

    loss_i = H_i / log M_i          H_i: entropy; M_i: count of keys that query i may attend to; 0 if M_i = 1

Between 0 and 1, so that queries with few and with many keys compare, as under a causal mask.
"""

from typing import Unpack

from jaxtyping import Float
from torch import Tensor

from attnloss.loss import Loss, Parts
from attnloss.losses.public import compute, loss_function
from attnloss.options import LossOptions
from attnloss.score_map import ScoreMap
from attnloss.statistics import Entropy


def build(scores: ScoreMap) -> Loss:
    """Build the loss from the entropy."""

    def combine(parts: Parts) -> Tensor:
        counts = scores.counts
        largest = counts.clamp(min=2).to(scores.dtype).log()
        return (parts["entropy"] / largest).masked_fill(counts < 2, 0.0)

    return Loss({"entropy": Entropy()}, combine)


@loss_function(build)
def normalized_entropy(
    query: Float[Tensor, "*batch n d"], key: Float[Tensor, "*key_batch m d"], **options: Unpack[LossOptions]
) -> Float[Tensor, "*reduced"]:
    """Entropy over log of the number of allowed keys, per query, reduced. `options` are those of `entropy`."""
    return compute(query, key, build, {}, **options)
