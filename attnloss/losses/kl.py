"""Kullback-Leibler divergence of two maps.

    loss_i = KL(P_i‖R_i) = Σ_j p_ij·log(p_ij / r_ij)

    p_ij, r_ij: weights of key j for query i in the request's map P and in the other map R; 0·log 0 = 0

In nats. P may ignore what R attends to, but not attend where R does not.

`compat="minilm"` is the attention loss of Wang et al. 2020, MiniLM: KL(R‖P), R being the teacher's map, averaged
over the heads and valid queries of each sequence, then over sequences. Their loss on value relations is the same
with value for query and key.
"""

from dataclasses import dataclass
from typing import Unpack

from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from attnloss import checks
from attnloss.loss import Loss, mean_of_means
from attnloss.losses.pair import Divergence, check_support, check_temperature, second
from attnloss.losses.public import compute_pair, loss_function
from attnloss.losses.reverse_kl import ReverseKl
from attnloss.options import LossOptions
from attnloss.score_map import ScoreMap


@dataclass(frozen=True, eq=False)
class Kl(Divergence):
    """Σ_j p·(log p − log r)."""

    kind = "kl"

    @override
    def diverge(self, log_p: Tensor, log_r: Tensor, p: Tensor, r: Tensor) -> Tensor:
        return (p * (log_p - log_r)).sum(-1)


def build(
    scores: ScoreMap, *, other: ScoreMap | None = None, temperature: float = 1.0, compat: str | None = None
) -> Loss:
    """Validate the parameters and build the loss."""
    teacher_first = checks.compat(compat, "minilm") is not None
    other = second(other, "kl")
    check_support(scores, other, of_other=teacher_first)
    maps = other, check_temperature(temperature)
    return Loss.of(ReverseKl(*maps), mean_of_means) if teacher_first else Loss.of(Kl(*maps))


@loss_function(build)
def kl(
    query: Float[Tensor, "*batch n d"],
    key: Float[Tensor, "*key_batch m d"],
    other_query: Float[Tensor, "*batch n d2"],
    other_key: Float[Tensor, "*other_key_batch m d2"],
    *,
    other_scale: float | None = None,
    temperature: float = 1.0,
    compat: str | None = None,
    **options: Unpack[LossOptions],
) -> Float[Tensor, "*reduced"]:
    """KL divergence of softmax(scale·QKᵀ) = P from the other map R, KL(P‖R), per query, reduced.

    The second map has its own head dim and key heads, and shares mask, causal and lengths. Scores of both
    are divided by 0.001 ≤ `temperature` < 100. `compat` is None or "minilm". `options` are those of `entropy`.
    """
    maps = (query, key, other_query, other_key)
    return compute_pair(maps, other_scale, build, {"temperature": temperature, "compat": compat}, **options)
