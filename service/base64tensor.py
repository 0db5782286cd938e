"""The base64 form of a tensor: `{"shape": [2, 3], "dtype": "float32", "base64": "..."}`, little-endian, row-major."""

import binascii
from math import prod
from typing import Any

import numpy as np

from service.errors import Invalid

DTYPES: dict[str, np.dtype[Any]] = {
    "float32": np.dtype("<f4"),
    "float64": np.dtype("<f8"),
    "float16": np.dtype("<f2"),
    "bfloat16": np.dtype("<u2"),
    "int64": np.dtype("<i8"),
    "int32": np.dtype("<i4"),
    "bool": np.dtype("?"),
}
"""Names on the wire and how their bytes lie; bfloat16 is read as 16 bits and widened to float32."""

_KEYS = {"shape", "dtype", "base64"}
_MOST_DIMS = 8
_LARGEST_DIM = 1 << 63


def decode_base64_tensor(fields: dict[str, Any], path: str) -> np.ndarray:
    """The array that the object describes.

    Raises:
        Invalid: unknown or missing keys, a shape that is not the number of bytes, bad base64, bytes that are no
            booleans.

    """
    _check_keys(fields, path)
    dtype = DTYPES[fields["dtype"]]
    expected_bytes = prod(fields["shape"]) * dtype.itemsize
    text = fields["base64"]
    came_bytes = len(text) // 4 * 3 - text[-2:].count("=")
    if came_bytes != expected_bytes:
        raise Invalid.field(
            path,
            f"shape {fields['shape']} of {fields['dtype']} is {expected_bytes} bytes, base64 holds {came_bytes}",
        )
    try:
        data = binascii.a2b_base64(text.encode("ascii"), strict_mode=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise Invalid.field(f"{path}.base64", f"is not base64: {error}") from None
    array = np.frombuffer(data, dtype).reshape(fields["shape"])
    if fields["dtype"] == "bfloat16":
        return (array.astype(np.uint32) << 16).view(np.float32)
    if fields["dtype"] == "bool" and (array.view(np.uint8) > 1).any():
        raise Invalid.field(f"{path}.base64", "holds bytes other than 0 and 1 where booleans were expected")
    return array


def encode_base64_tensor(array: np.ndarray) -> dict[str, Any]:
    """The object that describes a float32, float64 or int64 array."""
    little_endian = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    text = binascii.b2a_base64(little_endian.data, newline=False).decode("ascii")
    return {"shape": list(array.shape), "dtype": array.dtype.name, "base64": text}


def _check_keys(fields: dict[str, Any], path: str) -> None:
    if unknown := sorted(fields.keys() - _KEYS):
        raise Invalid.field(f"{path}.{unknown[0]}", "unknown field; a base64 tensor has shape, dtype and base64")
    if missing := sorted(_KEYS - fields.keys()):
        raise Invalid.field(f"{path}.{missing[0]}", "missing; a base64 tensor has shape, dtype and base64")
    if not isinstance(fields["dtype"], str) or fields["dtype"] not in DTYPES:
        raise Invalid.field(f"{path}.dtype", f"expected one of {', '.join(DTYPES)}, came {fields['dtype']!r:.40}")
    shape = fields["shape"]
    if not isinstance(shape, list) or not all(type(dim) is int and 1 <= dim <= _LARGEST_DIM for dim in shape):
        raise Invalid.field(f"{path}.shape", f"expected a list of integers from 1 to 2**63, came {shape!r:.80}")
    if len(shape) > _MOST_DIMS:
        raise Invalid.field(f"{path}.shape", f"expected at most {_MOST_DIMS} dimensions, came {len(shape)}")
    if not isinstance(fields["base64"], str):
        raise Invalid.field(f"{path}.base64", f"expected a string, came {type(fields['base64']).__name__}")
