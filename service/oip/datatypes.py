"""Datatypes of the Open Inference Protocol as numpy's, little-endian."""

from typing import Any

import numpy as np

DATATYPES: dict[str, np.dtype[Any]] = {
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    "FP16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
    "INT64": np.dtype("<i8"),
    "INT32": np.dtype("<i4"),
    "INT16": np.dtype("<i2"),
    "INT8": np.dtype("i1"),
    "UINT32": np.dtype("<u4"),
    "UINT16": np.dtype("<u2"),
    "UINT8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}
"""How the bytes of each lie; BF16 is read as 16 bits and widened to float32. UINT64 and BYTES hold nothing of ours."""

_NAMES = {np.dtype(kind): name for name, kind in DATATYPES.items() if name != "BF16"}


def datatype_of(array: np.ndarray) -> str:
    """The name of an array's dtype."""
    return _NAMES[array.dtype]


def widened(array: np.ndarray) -> np.ndarray:
    """BF16, read as 16 bits, as float32."""
    return (array.astype(np.uint32) << 16).view(np.float32)
