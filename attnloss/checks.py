"""What query, key, value, mask and lengths must be; each failure names the argument and states both sides."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from attnloss.errors import FieldError
from attnloss.shapes import resolve_shapes


def inputs(query: Tensor, key: Tensor) -> None:
    """Check that query and key are float tensors of one dtype and device whose shapes agree."""
    if not query.is_floating_point():
        raise FieldError("query", (), f"query must be floating point, got {query.dtype}")
    _together("key", key, "query", query)
    resolve_shapes(query.shape, key.shape)


def like_key(field: str, tensor: Tensor, key: Tensor) -> None:
    """Check that a value has key's dtype, device and shape up to the head dim, which is its own."""
    _together(field, tensor, "key", key)
    if tensor.shape[:-1] != key.shape[:-1] or tensor.shape[-1] == 0:
        expected = [*key.shape[:-1], "any"]
        raise FieldError(field, (), f"{field} must have shape {expected} like key, got {list(tensor.shape)}")


def _together(field: str, tensor: Tensor, other: str, first: Tensor) -> None:
    if tensor.dtype != first.dtype:
        raise FieldError(field, (), f"{field} must have the dtype of {other}, {first.dtype}, got {tensor.dtype}")
    if tensor.device != first.device:
        raise FieldError(field, (), f"{field} must be on the device of {other}, {first.device}, got {tensor.device}")


def boolean(mask: Tensor) -> None:
    """Check that the mask is boolean: an additive one would silently mean something else."""
    if mask.dtype != torch.bool:
        raise FieldError("mask", (), f"mask must be boolean (true = may attend), got {mask.dtype}")


def finite(scale: float) -> float:
    """Check the scale."""
    if not math.isfinite(scale):
        raise FieldError("scale", (), f"scale must be finite, got {scale}")
    return float(scale)


def lengths(
    field: str, given: Tensor | Sequence[int] | int | None, batch: int, longest: int, device: torch.device
) -> Tensor | None:
    """Check lengths, one per batch entry and each within 0…longest, and return them as int64 [batch]."""
    if given is None:
        return None
    tensor = torch.as_tensor(given)
    if tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool:
        raise FieldError(field, (), f"{field} must be integers, got {tensor.dtype}")
    if tensor.ndim == 0 and batch == 1:
        tensor = tensor[None]
    if tuple(tensor.shape) != (batch,):
        raise FieldError(field, (), f"{field} must have shape [{batch}], got {list(tensor.shape)}")
    for entry, length in enumerate(tensor.tolist()):
        if not 0 <= length <= longest:
            raise FieldError(field, (entry,), f"{field}[{entry}] must be within 0…{longest}, got {length}")
    return tensor.to(device, torch.int64).contiguous()


def window(field: str, given: tuple[int, int] | None, size: int) -> range:
    """Check a window (start, stop) of an axis; None is all of it."""
    if given is None:
        return range(size)
    start, stop = given
    if not 0 <= start < stop <= size:
        raise FieldError(field, (), f"{field} must satisfy 0 ≤ start < stop ≤ {size}, got {list(given)}")
    return range(start, stop)


def top_count(top_k: int | None, keys: int) -> int:
    """Check the number of keys asked for."""
    if top_k is None:
        raise FieldError("top_k", (), "top_k must be given when top is asked for, got None")
    if not 1 <= top_k <= keys:
        raise FieldError("top_k", (), f"top_k must be within 1…{keys}, the number of keys, got {top_k}")
    return top_k


def within(field: str, number: float, minimum: float, maximum: float | None) -> float:
    """Check that minimum ≤ number, and number < maximum where there is one."""
    if not (minimum <= number and math.isfinite(number) and (maximum is None or number < maximum)):
        bounds = f"{minimum:g} ≤ {field}" + ("" if maximum is None else f" < {maximum:g}")
        raise FieldError(field, (), f"{field} must be within {bounds}, got {number}")
    return float(number)


def compat(given: str | None, *known: str) -> str | None:
    """Check the name of another codebase whose definition is followed."""
    if given is not None and given not in known:
        raise FieldError("compat", (), f"compat must be None or one of {', '.join(known)}; got {given!r}")
    return given
