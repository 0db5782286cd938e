"""Tensors as NVIDIA's client sends them, and what should come back."""

from typing import Any

import ml_dtypes
import numpy as np
import tritonclient.http as triton
from tritonclient.utils import np_to_triton_dtype

from tests.serving import attend

SHAPE = (2, 3, 7, 5)
NAMES = {
    "OUTPUT": "output",
    "WEIGHTS": "weights",
    "LSE": "lse",
    "ENTROPY": "entropy",
    "RECEIVED": "received",
    "MAX": "max",
}


def drawn(dtype: Any = np.float32, shape: tuple[int, ...] = SHAPE) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(0)
    return {name: draw.standard_normal(shape).astype(dtype) for name in ("QUERY", "KEY", "VALUE")}


def tensor(name: str, array: np.ndarray, *, binary: bool = True) -> triton.InferInput:
    kind = "BF16" if array.dtype == ml_dtypes.bfloat16 else np_to_triton_dtype(array.dtype)
    return triton.InferInput(name, list(array.shape), kind).set_data_from_numpy(array, binary_data=binary)


def inputs(arrays: dict[str, np.ndarray], *, binary: bool = True) -> list[triton.InferInput]:
    return [tensor(name, array, binary=binary) for name, array in arrays.items()]


def truth(arrays: dict[str, np.ndarray], **options: Any) -> dict[str, np.ndarray]:
    return attend(*(array.astype(np.float64) for array in list(arrays.values())[:3]), **options)
