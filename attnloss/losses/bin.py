"""Harden a soft alignment: each query should attend to its key on a hard monotonic path alone.

    loss_i = −log p_{i,a_i}

    p_ij: weight of key j for query i; a: `target`, or the likeliest way through all keys in order

Badlani et al. 2022, One TTS Alignment To Rule Them All, add it to `forward_sum` once that has found the order.
The path is constant to the gradient. NeMo clamps the weight to 1e-12, which `eps` does.
"""

from typing import Unpack

from jaxtyping import Float, Int
from torch import Tensor

from attnloss import checks
from attnloss.alignment import monotonic_path
from attnloss.loss import Loss
from attnloss.losses import targets
from attnloss.losses.public import compute, loss_function
from attnloss.losses.supervised import IndexTarget
from attnloss.options import LossOptions
from attnloss.score_map import ScoreMap


def build(scores: ScoreMap, *, target: Int[Tensor, "..."] | None = None, eps: float = 0.0) -> Loss:
    """Validate the target, or find the path, and build the loss."""
    checks.within("eps", eps, 0.0, 1.0)
    if target is None:
        return Loss.of(IndexTarget(monotonic_path(scores), eps))
    return Loss.of(IndexTarget(targets.index(target, scores, may_miss=eps > 0, clampable=True), eps))


@loss_function(build)
def bin(
    query: Float[Tensor, "*batch n d"],
    key: Float[Tensor, "*key_batch m d"],
    *,
    target: Int[Tensor, "..."] | None = None,
    eps: float = 0.0,
    **options: Unpack[LossOptions],
) -> Float[Tensor, "*reduced"]:
    """Cross-entropy of each query's weights to its key on a hard alignment, reduced.

    `target` are integers of shape [n] or that of the weights without m; by default the likeliest way from
    the first key to the last valid one in steps of 0 or 1, found by a pass of its own. `options` are those
    of `entropy`. Raises FieldError where there is no such way, or a query may not attend to its key; `eps` > 0
    clamps the latter.
    """
    return compute(query, key, build, {"target": target, "eps": eps}, **options)
