"""Rényi entropy of the attention weights.

    R_i = log(Σ_j p_ij^α) / (1 − α) = (L_i(αs) − α·L_i(s)) / (1 − α)

    p_ij: weight of key j for query i; L_i(s): log Σ_j exp(s_ij); α: `alpha`; in nats

α = 0 counts the keys, α → 1 is the entropy, α = 2 the collision entropy, α → ∞ −log of the largest weight:
the larger α, the more only strong weights count. Rényi 1961, On Measures of Entropy and Information.
"""

from dataclasses import dataclass
from typing import Unpack

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from attnloss import checks
from attnloss.block import Block
from attnloss.functional import Functional
from attnloss.loss import Loss
from attnloss.losses.public import compute, loss_function
from attnloss.options import LossOptions
from attnloss.reference import DenseMap
from attnloss.score_map import ScoreMap
from attnloss.statistics import Entropy

NEAR_ONE = 0.25
"""|1 − α| below which the difference of log-sum-exps, divided by it, would lose digits."""


@dataclass(frozen=True)
class Renyi(Functional):
    """log(Σ_j p^α) / (1 − α); 0 for a fully masked query."""

    alpha: float

    @override
    def from_block(self, block: Block, *operands: Tensor) -> Tensor:
        order = 1 - self.alpha
        if abs(order) < NEAR_ONE:
            change = block.mean_of(torch.expm1(-order * block.log_weights.clamp(min=-80 / max(abs(order), 0.1))))
            return change.log1p() / order
        powers = block.keep((self.alpha * block.shifted).exp()).sum(-1)
        log_sum = powers.clamp(min=1.0).log() - self.alpha * block.log_total[..., 0]
        return log_sum / order

    @override
    def reference(self, dense: DenseMap, *operands: Tensor) -> Tensor:
        powers = (self.alpha * dense.log_weights).masked_fill(~dense.allowed, -torch.inf)
        empty = ~dense.allowed.any(-1)
        log_sum = powers.masked_fill(empty[..., None], 0.0).logsumexp(-1)
        return log_sum.masked_fill(empty, 0.0) / (1 - self.alpha)


def build(scores: ScoreMap, *, alpha: float = 2.0) -> Loss:
    """Validate alpha and build the loss."""
    checks.within("alpha", alpha, 0.0, 1e3)
    return Loss.of(Entropy() if alpha == 1 else Renyi(alpha))


@loss_function(build)
def renyi(
    query: Float[Tensor, "*batch n d"],
    key: Float[Tensor, "*key_batch m d"],
    *,
    alpha: float = 2.0,
    **options: Unpack[LossOptions],
) -> Float[Tensor, "*reduced"]:
    """Rényi entropy of order 0 ≤ `alpha` < 1000 per query, reduced. `options` are those of `entropy`."""
    return compute(query, key, build, {"alpha": alpha}, **options)
