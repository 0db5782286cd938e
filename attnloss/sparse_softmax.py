"""α-entmax: the softmax whose weights may be exactly 0."""

import torch
from jaxtyping import Float
from torch import Tensor

STEPS = 60
"""Newton steps at most; a few suffice, and each of the last ones halves the bracket."""


@torch.no_grad()
def entmax(shifted: Float[Tensor, "*rows k"], alpha: float) -> Float[Tensor, "*rows k"]:
    """Weights argmax_p p·s + H_α(p), from scores whose largest is 0, for α > 1; 2 is sparsemax.

    p_j = max((α − 1)·s_j − τ, 0)^(1/(α−1)) with τ such that they sum to 1, found by Newton steps kept within
    a bracket. Martins and Astudillo 2016, From Softmax to Sparsemax; Peters et al. 2019, Sparse
    Sequence-to-Sequence Models. Not differentiable: a Fenchel-Young loss needs no gradient of it.
    """
    order, scaled = 1 / (alpha - 1), shifted * (alpha - 1)
    low = torch.full_like(shifted[..., :1], -1.0)
    high = torch.full_like(low, -(shifted.shape[-1] ** (1.0 - alpha)))
    threshold = low
    precision = torch.finfo(shifted.dtype).eps
    for _ in range(STEPS):
        excess = (scaled - threshold).clamp(min=0.0)
        powers = excess if order == 1 else excess.square() if order == 2 else excess.pow(order)
        surplus = powers.sum(-1, keepdim=True) - 1
        low = torch.where(surplus >= 0, threshold, low)
        high = torch.where(surplus <= 0, threshold, high)
        slope = order * torch.where(excess > 0, powers / excess.clamp(min=1e-30), 0.0).sum(-1, keepdim=True)
        step = threshold + surplus / slope.clamp(min=1e-30)
        step = torch.where((step >= low) & (step <= high), step, (low + high) / 2)
        done = bool(((step - threshold).abs() <= precision * step.abs()).all())
        threshold = step
        if done:
            break
    weights = (scaled - threshold).clamp(min=0.0).pow(order)
    return weights / weights.sum(-1, keepdim=True).clamp(min=torch.finfo(shifted.dtype).tiny)


def tsallis(weights: Float[Tensor, "*rows k"], alpha: float) -> Float[Tensor, "*rows"]:
    """H_α(p) = (1 − Σ_j p_j^α) / (α·(α − 1)), 0 for one key."""
    return (1 - weights.pow(alpha).sum(-1)) / (alpha * (alpha - 1))
