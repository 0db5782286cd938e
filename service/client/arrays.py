"""Arrays on their way out and back: whatever a caller holds becomes numpy, and numpy becomes base64."""

import binascii
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np


class TorchTensor(Protocol):
    """A torch tensor, known without torch by what it can do."""

    def detach(self) -> Any:
        """The tensor without its history."""


ArrayLike = np.ndarray | TorchTensor | Sequence[Any]
"""A numpy array, a torch tensor on any device, or nested lists of numbers."""

DTYPES: dict[str, np.dtype[Any]] = {
    "float32": np.dtype("<f4"),
    "float64": np.dtype("<f8"),
    "float16": np.dtype("<f2"),
    "int64": np.dtype("<i8"),
    "int32": np.dtype("<i4"),
    "bool": np.dtype("?"),
}
"""Dtypes that travel, little-endian; others become the next of these that holds them."""


def as_array(value: Any, name: str) -> np.ndarray:
    """The value as a C-contiguous array of one of DTYPES; bfloat16 becomes float32, small integers int64.

    Raises:
        TypeError: it holds no numbers: objects, strings, complex.
        ValueError: ragged lists, integers beyond 64 bits.

    """
    if hasattr(value, "detach"):
        value = _from_torch(value, name)
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name}: expected an array, or lists of equal lengths: {error}") from None
    if array.dtype.name == "bfloat16":
        array = array.astype(np.float32)
    kind, size = array.dtype.kind, array.dtype.itemsize
    if kind not in "biuf" or size > 8:
        raise TypeError(f"{name}: expected real numbers or booleans, came dtype {array.dtype}")
    if kind == "u" and size == 8 and array.size and array.max() > np.iinfo(np.int64).max:
        raise ValueError(f"{name}: holds {array.max()}, which is beyond int64")
    known = array.dtype.name if array.dtype.name in DTYPES else "int64"
    return np.require(array, DTYPES[known], "C")


def narrowed(array: np.ndarray, dtype: str) -> np.ndarray:
    """A float64 array in the float32 that the service makes of it unless `dtype` is float64: half the bytes.

    One that holds what float32 cannot stays as it is, so that the service names the number.
    """
    if array.dtype != np.float64 or dtype == "float64":
        return array
    with np.errstate(over="ignore"):
        narrow = array.astype(np.float32)
    return narrow if np.isfinite(narrow).all() else array


def encode_base64(array: np.ndarray) -> dict[str, Any]:
    """The `{"shape", "dtype", "base64"}` form of an array that `as_array` made."""
    text = binascii.b2a_base64(array.data, newline=False).decode("ascii")
    return {"shape": list(array.shape), "dtype": array.dtype.name, "base64": text}


def decode_base64(tensor: dict[str, Any]) -> np.ndarray:
    """The array of a `{"shape", "dtype", "base64"}` form, writable. Raises KeyError or ValueError if it is none."""
    data = binascii.a2b_base64(tensor["base64"], strict_mode=True)
    return from_bytes(data, DTYPES[tensor["dtype"]], tensor["shape"])


def from_bytes(data: Any, dtype: np.dtype[Any], shape: Sequence[int]) -> np.ndarray:
    """A writable array of these bytes, aligned. Raises ValueError if they are not as many as the shape needs."""
    return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="))


def _from_torch(tensor: Any, name: str) -> Any:
    tensor = tensor.detach().cpu()
    try:
        return (tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor).numpy()
    except (TypeError, RuntimeError) as error:
        raise TypeError(f"{name}: this tensor has no numpy form: {error}") from None
