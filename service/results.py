"""What a call computed, on its way out: to the host, and never with a NaN."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from service.errors import ComputeFailed, Invalid, path_of


def on_the_host(tree: dict[str, Any]) -> dict[str, Any]:
    """The result with numpy arrays, statistics in float32 or float64."""
    result: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            result[name] = on_the_host(value)
        elif isinstance(value, Tensor):
            wide = value.float() if value.dtype in (torch.float16, torch.bfloat16) else value
            array = wide.detach().cpu().numpy()
            result[name] = np.ascontiguousarray(array) if value.ndim else array[()]
        else:
            result[name] = value
    return result


def checked(result: dict[str, Any]) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """(result, no error), or (no result, error) if a number overflowed: an answer never holds NaN."""
    place = _not_finite(result)
    if place is None:
        return result, None
    if place.startswith("results["):
        return None, ComputeFailed(f"The model gives no finite number at {place}.").to_wire()
    if place == "loss" and _not_finite({name: value for name, value in result.items() if name != "loss"}) is None:
        return None, Invalid.field("losses", "weight × loss overflows float32 in the total").to_wire()
    error = Invalid.field(
        "query", f"scores or sums overflow at {place}; send smaller values, a smaller scale, or dtype float64"
    )
    return None, error.to_wire()


def _not_finite(tree: dict[str, Any], *, nested: bool = False) -> str | None:
    for name, value in tree.items():
        if isinstance(value, dict):
            place = _not_finite(value, nested=name in ("losses", "per_query", "grad"))
            if place is not None:
                return f"{name}.{place}"
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for i, item in enumerate(value):
                if (place := _not_finite(item)) is not None:
                    return f"{name}[{i}].{place}"
        elif isinstance(value, (np.ndarray, np.floating, float)):
            array = np.asarray(value)
            bad = ~np.isfinite(array) if array.dtype.kind == "f" else np.zeros((), bool)
            if name == "lse" and not nested:
                bad &= ~np.isneginf(array)
            if np.any(bad):
                index = np.argwhere(bad)[0] if array.ndim else ()
                return path_of(name, *(int(i) for i in index))
    return None
