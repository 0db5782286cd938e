"""Angle between two maps.

    loss_i = 1 − Σ_j p_ij·r_ij / √(Σ_j p_ij² · Σ_j r_ij²)

    p_ij, r_ij: weights of key j for query i in the request's map P and in the other map R

0 for equal maps, 1 for maps that share no key. Used to compare heads and models, as by Clark et al. 2019, What
Does BERT Look At?
"""

from dataclasses import dataclass
from typing import Unpack, cast

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from attnloss.fused import FusedPass
from attnloss.loss import Loss
from attnloss.losses.pair import Divergence, check_temperature, second
from attnloss.losses.public import compute_pair, loss_function
from attnloss.options import LossOptions
from attnloss.score_map import ScoreMap
from attnloss.scores import Scores


@dataclass(frozen=True, eq=False)
class Cosine(Divergence):
    """1 − cos(p, r)."""

    kind = "cosine"
    needs = frozenset({"overlaps"})

    @override
    def diverge(self, log_p: Tensor, log_r: Tensor, p: Tensor, r: Tensor) -> Tensor:
        return _angle((p * p).sum(-1), (p * r).sum(-1), (r * r).sum(-1))

    @override
    def from_fused(self, fused: FusedPass, *operands: Tensor) -> Tensor:
        return _angle(*fused.overlaps(cast("Scores", self.other), self.temperature))


def _angle(pp: Tensor, pr: Tensor, rr: Tensor) -> Tensor:
    """1 − cos; a fully masked query has overlaps 0, and any value, which counts nowhere."""
    return 1 - pr / torch.where((pp > 0) & (rr > 0), pp * rr, 1.0).sqrt()


def build(scores: ScoreMap, *, other: ScoreMap | None = None, temperature: float = 1.0) -> Loss:
    """Validate the parameters and build the loss."""
    return Loss.of(Cosine(second(other, "cosine"), check_temperature(temperature)))


@loss_function(build)
def cosine(
    query: Float[Tensor, "*batch n d"],
    key: Float[Tensor, "*key_batch m d"],
    other_query: Float[Tensor, "*batch n d2"],
    other_key: Float[Tensor, "*other_key_batch m d2"],
    *,
    other_scale: float | None = None,
    temperature: float = 1.0,
    **options: Unpack[LossOptions],
) -> Float[Tensor, "*reduced"]:
    """One minus the cosine between softmax(scale·QKᵀ) and the other map, per query, reduced.

    The second map has its own head dim and key heads, and shares mask, causal and lengths. Scores of both
    are divided by 0.001 ≤ `temperature` < 100. `options` are those of `entropy`.
    """
    maps = (query, key, other_query, other_key)
    return compute_pair(maps, other_scale, build, {"temperature": temperature}, **options)
