"""Guided attention: weights away from the diagonal cost.

    loss_i = Σ_j p_ij·W_ij,   W_ij = 1 − exp(−(j/M − i/N)² / (2σ²))

    p_ij: weight of key j for query i, both counted from 0; N, M: counts of valid queries and keys; σ: `sigma`

For tasks whose alignment is nearly monotonic, as in speech. Tachibana et al. 2017, Efficiently Trainable
Text-to-Speech System Based on Deep Convolutional Networks with Guided Attention.

`compat="espnet"` averages p·W over all valid cells of the batch, so over queries and keys, σ = 0.4;
`compat="speechbrain"` over the whole padded array, σ = 0.2, so that its value depends on the padding.
"""

from dataclasses import dataclass
from typing import Unpack

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from attnloss import checks
from attnloss.loss import Loss, mean_over_allowed, mean_over_cells
from attnloss.losses.cells import CellMean
from attnloss.losses.public import compute, loss_function
from attnloss.options import LossOptions
from attnloss.score_map import ScoreMap

SIGMA = {None: 0.4, "espnet": 0.4, "speechbrain": 0.2}


@dataclass(frozen=True)
class Guided(CellMean):
    """Σ_j p_ij·W_ij."""

    sigma: float

    @override
    def cost(self, i: Tensor, j: Tensor, n: Tensor, m: Tensor) -> Tensor:
        away = j / m.clamp(min=1) - i / n.clamp(min=1)
        return -torch.expm1(-away.square() / (2 * self.sigma**2))


def build(scores: ScoreMap, *, sigma: float | None = None, compat: str | None = None) -> Loss:
    """Validate sigma and build the loss."""
    checks.compat(compat, "espnet", "speechbrain")
    width = SIGMA[compat] if sigma is None else checks.within("sigma", sigma, 1e-3, 1e3)
    own = {None: None, "espnet": mean_over_allowed, "speechbrain": mean_over_cells}[compat]
    return Loss.of(Guided(width), own)


@loss_function(build)
def guided(
    query: Float[Tensor, "*batch n d"],
    key: Float[Tensor, "*key_batch m d"],
    *,
    sigma: float | None = None,
    compat: str | None = None,
    **options: Unpack[LossOptions],
) -> Float[Tensor, "*reduced"]:
    """Mean cost of each query's weights away from the diagonal, reduced. `options` are those of `entropy`.

    `sigma`, 0.001 ≤ σ < 1000, is 0.4 by default, 0.2 with compat "speechbrain"; `compat` may also be
    "espnet".
    """
    return compute(query, key, build, {"sigma": sigma, "compat": compat}, **options)
