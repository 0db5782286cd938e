"""The only none, mean and sum over queries."""

from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Reduction = Literal["none", "mean", "sum"]


def reduce(
    per_query: Float[Tensor, "B H n"], valid: Bool[Tensor, "#B #H n"], reduction: str = "mean"
) -> Float[Tensor, "*reduced"]:
    """Reduce values per query over the valid ones.

    "mean" is one mean over all valid (batch, head, query), 0 if there is none; "none" keeps the shape, with
    0 at invalid queries. Raises ValueError for another name.
    """
    if reduction not in get_args(Reduction):
        raise ValueError(f"reduction must be one of none, mean, sum; got {reduction!r}")
    kept = torch.where(valid, per_query, 0.0)
    if reduction == "none":
        return kept
    if reduction == "sum":
        return kept.sum()
    return kept.sum() / valid.expand_as(per_query).sum().clamp(min=1)
