"""JSON over POST /attention and POST /loss: arrays as nested lists, or as base64 of their bytes."""

from collections.abc import Callable
from typing import Any

import numpy as np
import orjson

from service.client.arrays import decode_base64, encode_base64
from service.client.asked import Asked
from service.client.retry import Answer, Call

_STATISTICS = ("output", "weights", "lse", "entropy", "max", "received")


def tensors_call(asked: Asked, *, base64: bool) -> Call:
    """The request for tensors."""
    fields = asked.arrays | asked.options | {"return": asked.returns}
    if asked.losses is not None:
        fields["losses"] = asked.losses
    return fields_call(f"/{asked.model}", fields, base64=base64)


def fields_call(path: str, fields: dict[str, Any], *, base64: bool) -> Call:
    """The request with these fields. Raises TypeError for what JSON has no form for."""
    form: Callable[[np.ndarray], Any] = encode_base64 if base64 else _listed
    body = _arrays_as(form, fields | ({"encoding": "base64"} if base64 else {}))
    try:
        content = orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
    except orjson.JSONEncodeError as error:
        raise TypeError(f"{path}: an option has no JSON form: {error}") from None
    return Call("POST", path, content, {"Content-Type": "application/json"})


def tensors_fields(answer: Answer, dtype: str) -> dict[str, Any]:
    """The fields of an answer for tensors; numbers that came as lists become arrays of float32 or float64."""
    number = np.float64 if dtype == "float64" else np.float32
    fields = dict(orjson.loads(answer.content))
    for name in _STATISTICS:
        if name in fields:
            fields[name] = _array(fields[name], number)
    if "lse" in fields:
        fields["lse"][np.isnan(fields["lse"])] = -np.inf
    if "top" in fields:
        fields["top"] = _top(fields["top"], number)
    for name in ("losses", "per_query", "grad"):
        if name in fields:
            fields[name] = {label: _number_or_array(value, number) for label, value in fields[name].items()}
    return fields


def text_fields(answer: Answer) -> dict[str, Any]:
    """The fields of an answer for text; what holds a number for each head, query or key becomes an array."""
    fields = dict(orjson.loads(answer.content))
    for result in fields["results"]:
        for part in (*(result.get("layers") or ()), *(result.get("pairs") or ())):
            part |= {name: _array(part[name], np.float32) for name in _STATISTICS if name in part}
            if "lse" in part:
                part["lse"][np.isnan(part["lse"])] = -np.inf
            if "top" in part:
                part["top"] = _top(part["top"], np.float32)
            if "losses" in part:
                part["losses"] = {name: _number_or_array(value, np.float32) for name, value in part["losses"].items()}
    return fields


def _arrays_as(form: Callable[[np.ndarray], Any], value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return form(value)
    if isinstance(value, dict):
        return {name: _arrays_as(form, item) for name, item in value.items()}
    if isinstance(value, list):
        return [_arrays_as(form, item) for item in value]
    return value


def _listed(array: np.ndarray) -> Any:
    """An array that orjson writes as nested lists; it knows no float16 and no array without dimensions."""
    if array.ndim == 0:
        return array.item()
    return array.astype(np.float32) if array.dtype == np.float16 else array


def _array(value: Any, number: type[np.floating[Any]] | type[np.int64]) -> np.ndarray:
    return decode_base64(value) if isinstance(value, dict) else np.array(value, number)


def _number_or_array(value: Any, number: type[np.floating[Any]]) -> Any:
    return _array(value, number) if isinstance(value, (dict, list)) else value


def _top(top: dict[str, Any], number: type[np.floating[Any]]) -> dict[str, np.ndarray]:
    return {"index": _array(top["index"], np.int64), "weight": _array(top["weight"], number)}
