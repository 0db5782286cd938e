"""The only none, mean and sum over queries."""

from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Reduction = Literal["none", "mean", "sum"]


def reduce(
    values: Float[Tensor, "*units"], valid: Bool[Tensor, "*#units"], reduction: str = "mean"
) -> Float[Tensor, "*reduced"]:
    """Reduce values, per query, head or batch entry, over the valid ones.

    "mean" is one mean over all valid ones, as (batch, head, query), 0 if there is none; "none" keeps the shape, with
    0 at invalid queries. Raises ValueError for another name.
    """
    check_reduction(reduction)
    kept = torch.where(valid, values, 0.0)
    if reduction == "none":
        return kept
    if reduction == "sum":
        return kept.sum()
    return kept.sum() / valid.expand_as(values).sum().clamp(min=1)


def check_reduction(reduction: str) -> None:
    """Check the name of a reduction."""
    if reduction not in get_args(Reduction):
        raise ValueError(f"reduction must be one of none, mean, sum; got {reduction!r}")
