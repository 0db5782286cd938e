"""The Open Inference Protocol over POST /v2/models/{model}/infer: a JSON header, then arrays as they lie in memory."""

from typing import Any

import numpy as np
import orjson

from service.client.arrays import DTYPES, from_bytes
from service.client.asked import Asked, arrays_in
from service.client.retry import Answer, Call

HEADER_LENGTH = "Inference-Header-Content-Length"
DATATYPES = {
    "FP32": "float32",
    "FP64": "float64",
    "FP16": "float16",
    "INT64": "int64",
    "INT32": "int32",
    "BOOL": "bool",
}

_DATATYPE_OF = {dtype: datatype for datatype, dtype in DATATYPES.items()}
_LENGTHS = ("key_lengths", "query_lengths")
_STATISTICS = {name.upper(): name for name in ("output", "weights", "lse", "entropy", "max", "received")}


def fits(asked: Asked) -> bool:
    """Whether the protocol has a place for every array of the request, and for every number of the answer.

    It names one target and one other map, which it gives to each loss that lacks its own, so it is left to a single
    loss; a loss of one value is an array of one element, which with reduction none could be either.
    """
    if not asked.returns or asked.options.get("reduction") == "none":
        return False
    if not any(True for _ in arrays_in(asked.losses)):
        return True
    entry = (asked.losses or [{}])[0]
    others = {f"other.{name}" for name in entry.get("other") or {}} if isinstance(entry.get("other"), dict) else set()
    places = {name for name, value in entry.items() if any(True for _ in arrays_in(value))} - {"other"} | others
    return len(asked.losses or ()) == 1 and places <= {"target", "other.query", "other.key", "other.scale"}


def call(asked: Asked) -> Call:
    """The request; `fits` must hold."""
    tensors = {name.upper(): array for name, array in asked.arrays.items()}
    parameters = {name: value for name, value in asked.options.items() if name not in _LENGTHS}
    for name in _LENGTHS:
        if name in asked.options:
            tensors[name.upper()] = np.array(asked.options[name], np.int64)
    if asked.losses is not None:
        entries = [dict(entry) for entry in asked.losses]
        for entry in entries:
            _take_arrays(entry, tensors)
        parameters["losses"] = orjson.dumps(entries).decode()
    inputs = [
        {
            "name": name,
            "datatype": _DATATYPE_OF[array.dtype.name],
            "shape": array.shape,
            "parameters": {"binary_data_size": array.nbytes},
        }
        for name, array in tensors.items()
    ]
    head = orjson.dumps(
        {
            "inputs": inputs,
            "outputs": [{"name": name} for name in _outputs(asked)],
            "parameters": parameters | {"binary_data_output": True},
        }
    )
    content = b"".join([head, *(array.data for array in tensors.values())])
    return Call(
        "POST",
        f"/v2/models/{asked.model}/infer",
        content,
        {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(len(head))},
    )


def fields(answer: Answer) -> dict[str, Any]:
    """The answer with the fields of the JSON API. Raises KeyError or ValueError for what is no such answer."""
    size = int(answer.headers.get(HEADER_LENGTH, len(answer.content)))
    head = orjson.loads(answer.content[:size])
    rest = memoryview(answer.content)[size:]
    found: dict[str, Any] = {name: head["parameters"].get(name) for name in ("backend", "device")}
    for output in head["outputs"]:
        array, rest = _array(output, rest)
        _place(found, output["name"], array)
    return found


def _take_arrays(entry: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
    """Move the arrays of a loss to the inputs that stand for them."""
    if isinstance(entry.get("target"), np.ndarray):
        tensors["TARGET"] = entry.pop("target")
    if isinstance(entry.get("other"), dict):
        other = dict(entry["other"])
        for name in ("query", "key"):
            if isinstance(other.get(name), np.ndarray):
                tensors[f"OTHER_{name.upper()}"] = other.pop(name)
        entry["other"] = other


def _outputs(asked: Asked) -> list[str]:
    labels = [str(entry.get("label") or entry.get("name")) for entry in asked.losses or ()]
    if asked.losses is None:
        labels = ["cross_entropy" if "probability" in asked.arrays else "entropy"]
    several = {
        "top": ["TOP_INDEX", "TOP_WEIGHT"],
        "loss": ["LOSS", *(f"LOSS_{label}" for label in labels)],
        "per_query": [f"PER_QUERY_{label}" for label in labels],
        "grad": [f"GRAD_{name.upper()}" for name in ("query", "key", "value") if name in asked.arrays],
    }
    known = several if asked.model == "loss" else {"top": several["top"]}
    return [output for name in dict.fromkeys(asked.returns) for output in known.get(name, [name.upper()])]


def _array(output: dict[str, Any], rest: memoryview) -> tuple[np.ndarray, memoryview]:
    dtype = DTYPES[DATATYPES[output["datatype"]]]
    size = (output.get("parameters") or {}).get("binary_data_size")
    if size is None:
        return np.array(output["data"], dtype).reshape(output["shape"]), rest
    return from_bytes(rest[:size], dtype, output["shape"]), rest[size:]


def _place(found: dict[str, Any], name: str, array: np.ndarray) -> None:
    if name in _STATISTICS:
        found[_STATISTICS[name]] = array
    elif name == "LOSS":
        found["loss"] = float(array[0])
    else:
        prefixes = {"TOP_": "top", "LOSS_": "losses", "PER_QUERY_": "per_query", "GRAD_": "grad"}
        prefix = next(prefix for prefix in prefixes if name.startswith(prefix))
        part = name.removeprefix(prefix)
        part = part.lower() if prefix in ("TOP_", "GRAD_") else part
        found.setdefault(prefixes[prefix], {})[part] = float(array[0]) if prefix == "LOSS_" else array
