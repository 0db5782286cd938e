"""The keywords that the functions over a score map share."""

from collections.abc import Sequence
from typing import TypedDict

from torch import Tensor


class AttendOptions(TypedDict, total=False):
    """What each query may attend to: see `attnloss.attention`."""

    causal: bool
    mask: Tensor | None
    key_lengths: Tensor | Sequence[int] | int | None
    query_lengths: Tensor | Sequence[int] | int | None


class ScoreOptions(AttendOptions, total=False):
    """The same, and the scale."""

    scale: float | None


class LossOptions(ScoreOptions, total=False):
    """What every loss takes besides: the backend, and reduction none, mean (default) or sum."""

    reduction: str
    backend: str
