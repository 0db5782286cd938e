"""What the fused CPU kernels compute of score maps, differentiable, in memory linear in n and m both ways.

They take every option of `Scores`: masks, lengths, causality, grouped key heads, any strides. A gradient
computes the map again, and cannot itself be differentiated. Results are in the dtype of the scores.
"""

from functools import cache
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from attnloss.kernels import attended, collected, compared, library
from attnloss.scores import Scores, make_scores

Kind = Literal["kl", "reverse_kl", "js", "total_variation", "hellinger", "squares"]


def attend(
    scores: Scores, features: Float[Tensor, "B Hkv m f"] | None
) -> tuple[Float[Tensor, "B H n f"] | None, Float[Tensor, "B H n"], Float[Tensor, "B H n"], Float[Tensor, "B H n"]]:
    """Compute Σ_j p_ij·x_j of the features, the lse, the entropy and the largest weight in one pass.

    A fully masked query gets 0, −∞, 0 and 0. The gradient of the largest weight is shared evenly among ties.
    """
    return attended.attend(scores, features, 0)[:4]


def attend_top(scores: Scores, features: Float[Tensor, "B Hkv m f"] | None, count: int) -> attended.Results:
    """Compute the same as `attend`, and the `count` keys with the largest scores [B, H, n, count] and their weights.

    Keys come by falling score, equal ones by rising number; −1, with weight 0, where fewer are allowed. The
    gradient of the weights is that at these keys. Both are None where count is 0.
    """
    return attended.attend(scores, features, count)


def received(
    scores: Scores, lse: Float[Tensor, "B H n"], row_weights: Float[Tensor, "B H n"] | None = None
) -> Float[Tensor, "B H m"]:
    """Compute Σ_i w_i·p_ij, w being 1 if not given, from the lse that `attend` gives for the same scores.

    Gradients flow to query, key and row_weights; what the lse adds to them is in those already.
    """
    return collected.received(scores, lse, row_weights)


def two_maps(scores: Scores, other: Scores, kind: Kind) -> Float[Tensor, "B H n"]:
    """Compute a divergence of each query's weights p and those r of the other map; 0 if it is fully masked.

    kl Σ p·log(p/r), reverse_kl the other way round, js their mean against (p + r)/2, total_variation ½Σ|p − r|,
    hellinger 1 − Σ√(p·r), squares Σ(p − r)². Of `other` only query, key and scale are read: what is allowed is
    what `scores` says. Its key heads and head dim may be others.
    """
    return compared.compare(scores, other, kind)


def overlaps(
    scores: Scores, other: Scores
) -> tuple[Float[Tensor, "B H n"], Float[Tensor, "B H n"], Float[Tensor, "B H n"]]:
    """Compute Σ p², Σ p·r and Σ r² of each query, as `two_maps` does."""
    own, cross, others = compared.compare(scores, other, "overlaps").unbind()
    return own, cross, others


@cache
def unavailable() -> str | None:
    """Why the kernels cannot be used here, or None: one tiny forward and backward, compared with softmax."""
    try:
        library.load()
    except library.Unavailable as reason:
        return str(reason)
    with torch.inference_mode(mode=False), torch.enable_grad():  # whoever asks first may be in inference mode
        generator = torch.Generator().manual_seed(0)
        query, key, value = (torch.randn(3, 2, generator=generator, dtype=torch.float64) for _ in range(3))
        leaves = [tensor.requires_grad_() for tensor in (query, key, value)]
        logits = (0.5 * query @ key.mT).masked_fill(torch.ones(3, 3).triu(1).bool(), -torch.inf)
        truth = logits.softmax(-1) @ value, logits.logsumexp(-1)
        got = attend(make_scores(query, key, causal=True, scale=0.5), value[None, None])
        assert got[0] is not None
        pairs = [(got[0][0, 0], truth[0]), (got[1][0, 0], truth[1])]
        grads = [torch.autograd.grad(side[0].cos().sum() + side[1].sum(), leaves) for side in zip(*pairs, strict=True)]
        pairs += zip(*grads, strict=True)
    if all(torch.allclose(mine, expected, atol=1e-12) for mine, expected in pairs):
        return None
    return f"the {library.load().isa} kernels compute something else than attention"
