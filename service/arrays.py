"""Checks of the arrays of a request, and their way to the four dimensions that the worker computes in."""

import numpy as np

from attnloss.shapes import Shapes, mask_fits
from service.errors import Invalid, path_of

_LARGEST = {"float32": 3.4028234663852886e38, "bfloat16": 3.3895313892515355e38, "float16": 65504.0}


def as_floats(array: np.ndarray, dtype: str, field: str) -> np.ndarray:
    """The array in the type it travels in: float64 for a float64 job, else float32.

    Raises:
        Invalid: NaN or infinity, values beyond `dtype`, booleans; names the first index.

    """
    if array.dtype == np.bool_:
        raise Invalid.field(field, "expected numbers, came booleans")
    carrier = np.float64 if dtype == "float64" else np.float32
    with np.errstate(over="ignore"):
        floats = np.ascontiguousarray(array, carrier)
    bad = ~np.isfinite(floats)
    if dtype in ("float16", "bfloat16"):
        bad |= np.abs(floats) > _LARGEST[dtype]
    if bad.any():
        index = tuple(int(i) for i in np.argwhere(bad)[0])
        came = array[index]
        reason = f"{came:.6g} is beyond {dtype}" if np.isfinite(came) else f"expected a finite number, came {came}"
        raise Invalid.field(path_of(field, *index), reason)
    return floats


def as_lengths(lengths: list[int] | None, shapes: Shapes, limit: int, field: str) -> np.ndarray | None:
    """Lengths of the batch entries as int64.

    Raises:
        Invalid: not one length for each batch entry, or one beyond 0…limit.

    """
    if lengths is None:
        return None
    if len(lengths) != shapes.batch:
        raise Invalid.field(field, f"expected {shapes.batch} lengths, one per batch entry, came {len(lengths)}")
    for i, length in enumerate(lengths):
        if not 0 <= length <= limit:
            raise Invalid.field(f"{field}[{i}]", f"expected 0…{limit}, came {length}")
    return np.array(lengths, np.int64)


def as_mask(mask: np.ndarray, shapes: Shapes) -> np.ndarray:
    """A mask as [batch, heads, n, m], with size 1 where it is the same along an axis.

    Raises:
        Invalid: not boolean, or it does not broadcast to the weights.

    """
    if mask.dtype != np.bool_:
        raise Invalid.field("mask", f"expected booleans, true where a query may attend, came {mask.dtype.name}")
    plain, full = (shapes.n, shapes.m), shapes.restored(shapes.n, shapes.m)
    for expected in (plain, full):
        if len(expected) == mask.ndim and all(
            came in (1, size) for came, size in zip(mask.shape, expected, strict=True)
        ):
            return in_rank_4(mask, 2, shapes)
    raise Invalid.field("mask", f"shape {list(mask.shape)} broadcasts to neither {list(plain)} nor {list(full)}")


def check_map(field: str, array: np.ndarray, shapes: Shapes) -> None:
    """Refuse an [n, m] array that does not broadcast to the weights."""
    if not mask_fits(array.shape, shapes):
        expected = f"[{shapes.n}, {shapes.m}] or {list(shapes.restored(shapes.n, shapes.m))}"
        raise Invalid.field(field, f"expected shape {expected}, came {list(array.shape)}")


def in_rank_4(array: np.ndarray, tail: int, shapes: Shapes) -> np.ndarray:
    """The array with batch and heads in front of its last `tail` dimensions; size 1 where it had none."""
    lead, rest = array.shape[: array.ndim - tail], array.shape[array.ndim - tail :]
    if len(lead) == 2:
        return array
    return array.reshape((lead[0] if lead else 1), 1, *rest)


def check_window(window: list[int] | None, limit: int, field: str) -> None:
    """Refuse a window that is not within 0…limit."""
    if window is not None and not 0 <= window[0] < window[1] <= limit:
        raise Invalid.field(field, f"expected [start, stop] with 0 ≤ start < stop ≤ {limit}, came {window}")
