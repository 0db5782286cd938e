"""What is drawn: arrays of torch or numpy as float64, and the errors of those that cannot be."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64, Real

from attnloss.errors import FieldError

LENIENCE = 1e-3
"""How far rounding may carry a weight beyond its limits; it is drawn as the limit."""


@runtime_checkable
class Array(Protocol):
    """A torch tensor, on any device and with or without gradient, or a numpy array. Naming no torch loads none."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes."""

    @property
    def dtype(self) -> object:
        """The type of the elements."""


def numbers(field: str, array: Real[Array, "..."], *axes: str) -> Float64[np.ndarray, "..."]:
    """Copy an array to float64. Raises FieldError unless it has these axes, none of them empty, and is finite."""
    values = _numpy(array)
    if values.dtype.kind not in "fiu":
        raise FieldError(field, (), f"{field} must be numbers, got {values.dtype}")
    if values.ndim != len(axes) or 0 in values.shape:
        raise FieldError(
            field, (), f"{field} must have shape [{', '.join(axes)}] with no size 0, got {list(values.shape)}"
        )
    values = values.astype(np.float64)
    _refuse(field, values, ~np.isfinite(values), "be finite")
    return values


def within(field: str, values: Float64[np.ndarray, "..."], low: float, high: float, hint: str = "") -> None:
    """Check that low ≤ values ≤ high up to rounding; either may be infinite."""
    slack = LENIENCE * (high - low if np.isfinite(high - low) else 1.0)
    outside = (values < low - slack) | (values > high + slack)
    bounds = f"at most {high:g}" if low == -np.inf else f"at least {low:g}" if high == np.inf else ""
    _refuse(field, values, outside, f"be {bounds or f'within {low:g}…{high:g}'}{hint}")


def limits_of(values: Float64[np.ndarray, "..."], limits: tuple[float, float] | None) -> tuple[float, float]:
    """Check limits low < high; None is from the least value to the largest, or to any more where all are alike."""
    if limits is None:
        low, high = float(values.min()), float(values.max())
        return (low, high) if low < high else (low, low + max(1.0, abs(low)))
    low, high = limits
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise FieldError("limits", (), f"limits must be finite with low < high, got {list(limits)}")
    return float(low), float(high)


def as_many(field: str, given: Sequence[object], count: int, of: str) -> None:
    """Check a length against that of what it names."""
    if isinstance(given, str):
        raise FieldError(field, (), f"{field} must be a sequence of strings, got the one string {given[:40]!r}")
    if len(given) != count:
        raise FieldError(field, (), f"{field} must have length {count}, one for each {of}, got {len(given)}")


def _numpy(array: Real[Array, "..."]) -> np.ndarray:
    if hasattr(array, "detach"):
        tensor = array.detach().cpu()
        array = (tensor.double() if tensor.is_floating_point() else tensor).numpy()  # numpy has no bfloat16
    return np.asarray(array)


def _refuse(field: str, values: Float64[np.ndarray, "..."], wrong: np.ndarray, expected: str) -> None:
    if wrong.any():
        at = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise FieldError(field, at, f"{field}{list(at)} must {expected}, got {values[at]:g}")
