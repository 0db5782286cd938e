"""Mean distance over which a query attends.

    loss_i = Σ_j p_ij·|i′ − j|,   i′ = i − N + M

    p_ij: weight of key j for query i; N, M: counts of valid queries and keys, whose ends are aligned

In tokens. Small for local heads, large for those that look far back; see Sukhbaatar et al. 2019, Adaptive
Attention Span in Transformers.
"""

from dataclasses import dataclass
from typing import Unpack

from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from attnloss.loss import Loss
from attnloss.losses.cells import CellMean
from attnloss.losses.public import compute, loss_function
from attnloss.options import LossOptions
from attnloss.score_map import ScoreMap


@dataclass(frozen=True)
class Distance(CellMean):
    """Σ_j p_ij·|i′ − j|."""

    @override
    def cost(self, i: Tensor, j: Tensor, n: Tensor, m: Tensor) -> Tensor:
        return (i - n + m - j).abs()


def build(scores: ScoreMap) -> Loss:
    """Build the loss."""
    return Loss.of(Distance())


@loss_function(build)
def distance(
    query: Float[Tensor, "*batch n d"], key: Float[Tensor, "*key_batch m d"], **options: Unpack[LossOptions]
) -> Float[Tensor, "*reduced"]:
    """Mean distance in tokens to the keys attended, per query, reduced. `options` are those of `entropy`."""
    return compute(query, key, build, {}, **options)
