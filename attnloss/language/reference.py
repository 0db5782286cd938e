"""The reference twins: dense, eager, float64, and obvious."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from attnloss.language.logits import Source
from attnloss.language.statistics import Statistics, Wanted


def statistics(source: Source, wanted: Wanted) -> Statistics:
    """Compute everything from the logits, and round it to the dtype of the fast path at the end."""
    logits = source.dense()
    log_p = logits.log_softmax(-1)
    finite = log_p.masked_fill(log_p == -torch.inf, 0.0)
    ranked, index = log_p.sort(dim=-1, descending=True, stable=True)
    dtype = source.dtype
    return Statistics(
        lse=logits.logsumexp(-1).to(dtype),
        picked=log_p.gather(-1, wanted.picks).to(dtype),
        total=log_p.sum(-1).to(dtype) if wanted.total else None,
        entropy=-(log_p.exp() * finite).sum(-1).to(dtype) if wanted.entropy else None,
        top=ranked[:, : wanted.top].to(dtype) if wanted.top else None,
        top_index=index[:, : wanted.top] if wanted.top else None,
    )


def smoothed(
    targets: Int[Tensor, " t"], vocabulary: int, smoothing: float, convention: str, padding: int
) -> Float[Tensor, "t V"]:
    """The distribution that a convention makes of every target."""
    one_hot = torch.nn.functional.one_hot(targets, vocabulary).double()
    others = 1 - one_hot
    if convention == "torch":
        return (1 - smoothing) * one_hot + smoothing / vocabulary
    if convention == "opennmt":
        others[:, padding] = 0.0
    return (1 - smoothing) * one_hot + smoothing * others / others.sum(-1, keepdim=True).clamp(min=1)


def cross_entropy(
    source: Source, targets: Int[Tensor, " t"], smoothing: float, convention: str, padding: int
) -> Float[Tensor, " t"]:
    """−Σ_j q_j·log p_j; for opennmt Σ_j q_j·(log q_j − log p_j)."""
    log_p = source.dense().log_softmax(-1)
    wanted = smoothed(targets, log_p.shape[-1], smoothing, convention, padding)
    loss = -torch.where(wanted > 0, wanted * log_p, 0.0).sum(-1)
    if convention == "opennmt":
        loss = loss + torch.xlogy(wanted, wanted).sum(-1)
    return loss.to(source.dtype)


def z_loss(source: Source, coefficient: float) -> Float[Tensor, " t"]:
    """λ·L²."""
    return (coefficient * source.dense().logsumexp(-1) ** 2).to(source.dtype)
