"""Names that the cross-entropy goes by when a model is measured; take its options, and raise what it raises.

log p_i(y_i)        surprisal_i = −log p_i(y_i)        perplexity = exp(mean surprisal)
bits per byte = Σ_i surprisal_i / (ln 2 · bytes)

sums and means over the scored tokens; in nats but for the last
"""

import math
from typing import Unpack

from jaxtyping import Float, Integer
from torch import Tensor

from attnloss.language import checks
from attnloss.language.losses import cross_entropy
from attnloss.language.tokens import TokenOptions


def surprisal(
    hidden: Float[Tensor, "*batch d"],
    weight: Float[Tensor, "V d"],
    targets: Integer[Tensor, "*batch"],
    **options: Unpack[TokenOptions],
) -> Float[Tensor, "*batch"]:
    """−log p of each target, 0 where it is ignored."""
    return cross_entropy(hidden, weight, targets, reduction="none", **options)


def token_log_probs(
    hidden: Float[Tensor, "*batch d"],
    weight: Float[Tensor, "V d"],
    targets: Integer[Tensor, "*batch"],
    **options: Unpack[TokenOptions],
) -> Float[Tensor, "*batch"]:
    """Log p of each target, 0 where it is ignored."""
    return -surprisal(hidden, weight, targets, **options)


def perplexity(
    hidden: Float[Tensor, "*batch d"],
    weight: Float[Tensor, "V d"],
    targets: Integer[Tensor, "*batch"],
    **options: Unpack[TokenOptions],
) -> Float[Tensor, ""]:
    """Exp of the mean surprisal; 1 where no token is scored."""
    return cross_entropy(hidden, weight, targets, **options).exp()


def bits_per_byte(
    hidden: Float[Tensor, "*batch d"],
    weight: Float[Tensor, "V d"],
    targets: Integer[Tensor, "*batch"],
    byte_count: int,
    **options: Unpack[TokenOptions],
) -> Float[Tensor, ""]:
    """Scored nats / ln 2 / byte_count: `byte_count` is of the text that the scored tokens spell, at least 1."""
    checks.byte_count(byte_count)
    return cross_entropy(hidden, weight, targets, reduction="sum", **options) / (math.log(2) * byte_count)
