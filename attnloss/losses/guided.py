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
from attnloss.fused import FusedPass
from attnloss.loss import Loss, mean_over_allowed, mean_over_cells
from attnloss.losses.cells import CellMean
from attnloss.losses.public import compute, loss_function
from attnloss.options import LossOptions
from attnloss.score_map import ScoreMap

MOST_RANK = 48
"""Features that a fused pass may take for it; more cost as much as the map's cells."""

SIGMA = {None: 0.4, "espnet": 0.4, "speechbrain": 0.2}


@dataclass(frozen=True)
class Guided(CellMean):
    """Σ_j p_ij·W_ij."""

    sigma: float

    @override
    def cost(self, i: Tensor, j: Tensor, n: Tensor, m: Tensor) -> Tensor:
        away = j / m.clamp(min=1) - i / n.clamp(min=1)
        return -torch.expm1(-away.square() / (2 * self.sigma**2))


@dataclass(frozen=True)
class GuidedByRank(Guided):
    """The same, with a fused form: the Gaussian as a sum of products of a term in i and a term in j.

    exp(−(x − y)²/2σ²) = Σ_r f_r(x)·f_r(y),   f_r(x) = e^(−x²/2σ²)·(x/σ)^r / √r!,   x = i/N − ½,   y = j/M − ½
    """

    rank: int
    needs = frozenset({"expect"})

    @override
    def features(self, scores: ScoreMap) -> Tensor:
        batch, _, _, m = scores.shape
        terms = self._terms(scores, m, scores.key_end)
        return terms[:, None].expand(batch, scores.key_heads, m, self.rank)

    @override
    def from_fused(self, fused: FusedPass, *operands: Tensor) -> Tensor:
        scores = fused.scores
        terms = self._terms(scores, scores.shape[2], scores.query_end)
        near: Tensor = torch.linalg.vecdot(fused.expect(self), terms[:, None])
        return 1 - near

    def _terms(self, scores: ScoreMap, count: int, ends: Tensor | int) -> Float[Tensor, "#B count rank"]:
        end = torch.as_tensor(ends, device=scores.device, dtype=torch.float64).clamp(min=1).view(-1, 1)
        place = (torch.arange(count, device=scores.device) / end - 0.5).clamp(max=0.5) / self.sigma
        first = torch.exp(-place.square() / 2)
        factors = [place / r**0.5 for r in range(1, self.rank)]
        return torch.stack([first, *factors], -1).cumprod(-1).to(scores.dtype)


def rank_of(sigma: float, dtype: torch.dtype) -> int | None:
    """Terms after which the sum is exact to the dtype, as |x·y| ≤ ¼; None where they are too many."""
    ratio, term, rank = 1 / (4 * sigma**2), 1.0, 0
    while term > torch.finfo(dtype).eps / 4 or rank < ratio:
        rank += 1
        term *= ratio / rank
        if rank > MOST_RANK:
            return None
    return max(rank, 1)


def build(scores: ScoreMap, *, sigma: float | None = None, compat: str | None = None) -> Loss:
    """Validate sigma and build the loss."""
    checks.compat(compat, "espnet", "speechbrain")
    width = SIGMA[compat] if sigma is None else checks.within("sigma", sigma, 1e-3, 1e3)
    own = {None: None, "espnet": mean_over_allowed, "speechbrain": mean_over_cells}[compat]
    rank = rank_of(width, scores.dtype)
    return Loss.of(Guided(width) if rank is None else GuidedByRank(width, rank), own)


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
