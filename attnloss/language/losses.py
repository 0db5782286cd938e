"""Cross-entropy with label smoothing, and the z-loss.

    loss_i = −Σ_j q_ij·log p_ij + λ·L_i²        z_i = λ·L_i²

    q_ij: the smoothed target: 1 − ε on the target y_i, and besides, by convention,
        torch: ε/V on all V words, the target too
        transformer: ε/(V − 1) on all words but the target
        opennmt: ε/(V − 2) on all but the target and the padding word; Σ_j q_ij·log q_ij is added
    ε: smoothing; V: vocabulary; λ: z_coefficient; L_i: lse; in nats

Label smoothing: Szegedy et al. 2016, Rethinking the Inception Architecture; Vaswani et al. 2017, Attention Is All
You Need. OpenNMT-py's LabelSmoothingLoss is the divergence KL(q‖p), which is the cross-entropy less the entropy of
q, −(1 − ε)·log(1 − ε) − ε·log(ε/(V − 2)): a constant, so that its gradient is that of the cross-entropy, and its
least value is 0. Z-loss: Chowdhery et al. 2022, PaLM (λ = 1e-4); Zoph et al. 2022, ST-MoE.
"""

import math
from dataclasses import replace
from typing import Unpack

import torch
from jaxtyping import Float, Integer
from torch import Tensor

from attnloss.language import checks, linear, reference
from attnloss.language import tokens as requests
from attnloss.language.statistics import Wanted
from attnloss.language.tokens import LogitsOptions, TokenOptions, Tokens


def cross_entropy(
    hidden: Float[Tensor, "*batch d"],
    weight: Float[Tensor, "V d"],
    targets: Integer[Tensor, "*batch"],
    *,
    smoothing: float = 0.0,
    convention: str = "torch",
    z_coefficient: float = 0.0,
    reduction: str = "mean",
    **options: Unpack[TokenOptions],
) -> Float[Tensor, "*reduced"]:
    """Cross-entropy of softmax(h·Wᵀ + b) to the targets, smoothed by a convention, with λ·L² in the same pass.

    Reduced by none, mean (default) or sum over the scored tokens; a mean over none of them is 0, and "none"
    has 0 at ignored ones. `options` are bias, ignore_index (−100; for opennmt it is the padding word) and
    backend: "chunked"; "linear", torch's `linear_cross_entropy`, which makes the gradients in the forward pass;
    "reference", dense float64. "auto" picks linear on the CPU where it can and a gradient of a mean or a sum is
    wanted, and else chunked, which takes more time there, and less memory.

    Raises FieldError, naming the argument and the place in it, for what does not fit, for logits that are NaN
    or +∞, and where the loss would be infinite; ValueError where the backend cannot do what is asked.
    """
    tokens = requests.of_projection(hidden, weight, targets, **options)
    return _cross_entropy(tokens, smoothing, convention, z_coefficient, reduction)


def cross_entropy_from_logits(
    logits: Float[Tensor, "*batch V"],
    targets: Integer[Tensor, "*batch"],
    *,
    smoothing: float = 0.0,
    convention: str = "torch",
    z_coefficient: float = 0.0,
    reduction: str = "mean",
    **options: Unpack[LogitsOptions],
) -> Float[Tensor, "*reduced"]:
    """Do as `cross_entropy` does with logits that are there already: no float32 copy of them is made."""
    tokens = requests.of_logits(logits, targets, **options)
    return _cross_entropy(tokens, smoothing, convention, z_coefficient, reduction)


def z_loss(
    hidden: Float[Tensor, "*batch d"],
    weight: Float[Tensor, "V d"],
    targets: Integer[Tensor, "*batch"] | None = None,
    *,
    coefficient: float = 1e-4,
    reduction: str = "mean",
    **options: Unpack[TokenOptions],
) -> Float[Tensor, "*reduced"]:
    """λ·L², which keeps the softmax's normalizer near 1; targets say only which tokens are scored.

    To have it beside the cross-entropy give that a z_coefficient: the pass is then shared. Reduction, options
    and errors are those of `cross_entropy`.
    """
    checks.coefficient("coefficient", coefficient)
    tokens = requests.of_projection(hidden, weight, targets, **options)
    if tokens.backend == "reference":
        per_token = reference.z_loss(tokens.source, coefficient)
        tokens.require_finite(per_token)
        return tokens.reduce(per_token, reduction)
    picks = tokens.scored.new_zeros((len(tokens.source.first), 0)).long()
    return tokens.reduce(coefficient * tokens.compute(Wanted(picks)).lse.square(), reduction)


def _cross_entropy(tokens: Tokens, smoothing: float, convention: str, z_coefficient: float, reduction: str) -> Tensor:
    checks.smoothing(smoothing, convention, tokens.source.shape[1], tokens.ignore_index)
    checks.coefficient("z_coefficient", z_coefficient)
    assert tokens.targets is not None
    refusal = linear.refusal(tokens.source, smoothing, z_coefficient)
    if tokens.backend == "linear" and refusal:
        raise ValueError(f"backend linear cannot compute this: {refusal}")
    pays = tokens.backend == "auto" and refusal is None and linear.pays(tokens.source, reduction)
    if tokens.backend == "linear" or pays:
        return _by_linear(tokens, tokens.targets, reduction)
    if tokens.backend == "reference":
        padding = tokens.ignore_index
        per_token = reference.cross_entropy(tokens.source, tokens.targets, smoothing, convention, padding)
        tokens.require_finite(per_token)
        return tokens.reduce(per_token + reference.z_loss(tokens.source, z_coefficient), reduction)
    return tokens.reduce(_chunked(tokens, tokens.targets, smoothing, convention, z_coefficient), reduction)


def _chunked(tokens: Tokens, targets: Tensor, smoothing: float, convention: str, z_coefficient: float) -> Tensor:
    vocabulary = tokens.source.shape[1]
    picks = targets[:, None]
    if smoothing > 0 and convention == "opennmt":
        picks = torch.stack([targets, torch.full_like(targets, tokens.ignore_index)], 1)
    result = tokens.compute(Wanted(picks, total=smoothing > 0))
    target = result.picked[:, 0]
    loss = -target
    if result.total is not None:
        among, others = vocabulary, result.total
        if convention != "torch":
            among, others = vocabulary - picks.shape[1], others - result.picked.sum(1)
        loss = -(1 - smoothing) * target - smoothing / among * others
        if convention == "opennmt":
            loss = loss + (1 - smoothing) * math.log1p(-smoothing) + smoothing * math.log(smoothing / among)
    return loss if z_coefficient == 0 else loss + z_coefficient * result.lse.square()


def _by_linear(tokens: Tokens, targets: Tensor, reduction: str) -> Tensor:
    scalar = reduction in ("mean", "sum")
    loss = linear.cross_entropy(tokens.source, targets, "sum" if scalar else "none")
    if not bool(loss.isfinite().all()):
        replace(tokens, backend="chunked").compute(Wanted(targets[:, None]))  # raises, naming the place
        tokens.require_finite(loss)
    if not scalar:
        return tokens.reduce(loss, reduction)
    return loss if reduction == "sum" else loss / max(len(targets), 1)
