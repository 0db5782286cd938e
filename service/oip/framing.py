"""The bytes of a request: a JSON header, then the raw tensors in the order of `inputs`, without a separator."""

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np

from service.admission import JSON_MEMORY_FACTOR
from service.errors import Invalid, NotJson
from service.oip.datatypes import DATATYPES, widened
from service.oip.schemas import InferInput

HEADER_LENGTH = "inference-header-content-length"

_ALIGNMENT_BYTES = 8

_BINARY_MEMORY_FACTOR = 3
"""The body, its tensors as float32 where they came in half of that, and one copy on their way."""


def header_bytes(headers: Mapping[str, str]) -> int | None:
    """Bytes of the JSON header; None if the whole body is JSON. Raises NotJson for what is no length."""
    given = headers.get(HEADER_LENGTH)
    if given is None:
        return None
    if not (given.isascii() and given.isdigit() and len(given) < 20):
        raise NotJson(f"Inference-Header-Content-Length: expected a number of bytes, came {given[:64]!r}.")
    return int(given)


def memory_bytes(headers: Mapping[str, str], size: int) -> int:
    """What a body of so many bytes may take in memory while it is decoded."""
    json_size = header_bytes(headers)
    json_size = size if json_size is None else min(json_size, size)
    return json_size * JSON_MEMORY_FACTOR + (size - json_size) * _BINARY_MEMORY_FACTOR


def lead_bytes(headers: Mapping[str, str]) -> int:
    """Zeros before the body with which its binary part is aligned: what is not, numpy reads several times slower."""
    return -(header_bytes(headers) or 0) % _ALIGNMENT_BYTES


def split(body: bytes, headers: Mapping[str, str]) -> tuple[bytes, memoryview]:
    """The JSON header and the binary part of a body behind its `lead_bytes`. Raises NotJson if it is too short."""
    size = header_bytes(headers)
    if size is None:
        return body, memoryview(b"")
    lead = lead_bytes(headers)
    if size > len(body) - lead:
        raise NotJson(f"Inference-Header-Content-Length is {size}, the body has {len(body) - lead} bytes.")
    return body[lead : lead + size], memoryview(body)[lead + size :]


def tensors(inputs: list[InferInput], binary: memoryview) -> dict[str, np.ndarray]:
    """The arrays by their names; those of the binary part lie in it, as they came.

    Raises:
        NotJson: sizes that are not those of shapes and datatypes, or not the bytes that came.
        Invalid: a name given twice, data that are no such numbers.

    """
    found: dict[str, np.ndarray] = {}
    start = 0
    for i, each in enumerate(inputs):
        if each.name in found:
            raise Invalid.field(f"inputs[{i}].name", f"{each.name[:64]!r} is given twice")
        size = each.parameters.binary_data_size
        if size is None:
            found[each.name] = _from_data(each, i)
            continue
        if each.data is not None:
            raise NotJson(f"inputs[{i}]: expected data or parameters.binary_data_size, came both.")
        dtype = DATATYPES[each.datatype]
        expected = prod(each.shape) * dtype.itemsize
        if size != expected:
            shape = f"shape {each.shape} of {each.datatype} is {expected} bytes"
            raise NotJson(f"inputs[{i}].parameters.binary_data_size: {shape}, came {size}.")
        if size > len(binary) - start:
            raise NotJson(f"{each.name[:64]} takes {size} bytes, and {len(binary) - start} are left of the body.")
        raw = np.frombuffer(binary[start : start + size], dtype).reshape(each.shape)
        found[each.name] = _checked(raw, each)
        start += size
    if start != len(binary):
        raise NotJson(f"The binary tensors take {start} bytes, and {len(binary)} came behind the JSON header.")
    return found


def _checked(raw: np.ndarray, given: InferInput) -> np.ndarray:
    if given.datatype == "BF16":
        return widened(raw)
    if given.datatype == "BOOL" and (raw.view(np.uint8) > 1).any():
        raise Invalid.field(given.name, "holds bytes other than 0 and 1 where booleans were expected")
    return raw


def _from_data(given: InferInput, i: int) -> np.ndarray:
    """An input of the JSON header, flat or nested."""
    place = f"inputs[{i}].data"
    if given.data is None:
        raise Invalid.field(place, "this field is needed where there is no parameters.binary_data_size")
    if given.datatype == "BF16":
        raise Invalid.field(place, "BF16 is binary only; say parameters.binary_data_size")
    if given.data.size != prod(given.shape):
        raise Invalid.field(place, f"shape {given.shape} is {prod(given.shape)} elements, came {given.data.size}")
    return _converted(given.data, DATATYPES[given.datatype], given.datatype, place).reshape(given.shape)


def _converted(data: np.ndarray, dtype: np.dtype[Any], name: str, place: str) -> np.ndarray:
    if (data.dtype.kind == "b") != (dtype.kind == "b") or (data.dtype.kind == "f" and dtype.kind in "iu"):
        came = {"b": "booleans", "f": "floats"}.get(data.dtype.kind, "integers")
        raise Invalid.field(place, f"expected {name}, came {came}")
    with np.errstate(over="ignore"):
        converted = data.astype(dtype)
    if dtype.kind in "iu" and not np.array_equal(converted, data):
        raise Invalid.field(place, f"holds integers beyond {name}")
    return converted
