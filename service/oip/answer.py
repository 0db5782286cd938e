"""From a job's result to the answer of the protocol."""

from typing import Any

import numpy as np
import orjson

from service.exchange import Written
from service.frames import Buffer
from service.oip.datatypes import datatype_of

VERSION = "1"
"""The only version of each model."""

STATISTICS = {
    "OUTPUT": "output",
    "WEIGHTS": "weights",
    "LSE": "lse",
    "ENTROPY": "entropy",
    "RECEIVED": "received",
    "MAX": "max",
    "TOP_INDEX": "top",
    "TOP_WEIGHT": "top",
}
"""Outputs of both models, as the JSON API calls them."""

LOSS_OUTPUTS = {"LOSS": "loss", "GRAD_QUERY": "grad", "GRAD_KEY": "grad", "GRAD_VALUE": "grad"}
"""Outputs of the model loss alone."""

LABELLED_OUTPUTS = {"LOSS_": "loss", "PER_QUERY_": "per_query"}
"""Outputs that there are of each loss of a request, by what stands before its label."""


def written(
    result: dict[str, Any],
    model: str,
    request_id: str | None,
    names: list[str],
    binary: set[str],
    number: type[np.floating[Any]],
) -> Written:
    """The JSON header, and behind it the tensors that are asked for in binary, as they came from the worker.

    A loss that is one number becomes an array of dtype `number` and shape [1].
    """
    outputs: list[dict[str, Any]] = []
    parts: list[Buffer] = [b""]
    for name in names:
        array = _array(result, name, number)
        output: dict[str, Any] = {"name": name, "datatype": datatype_of(array), "shape": array.shape}
        if name in binary:
            output["parameters"] = {"binary_data_size": array.nbytes}
            parts.append(array)
        else:
            output["data"] = array.reshape(-1)
        outputs.append(output)
    head: dict[str, Any] = {"model_name": model, "model_version": VERSION}
    if request_id is not None:
        head["id"] = request_id
    head["parameters"] = {name: result[name] for name in ("backend", "device", "autocast") if name in result}
    head["outputs"] = outputs
    parts[0] = orjson.dumps(head, option=orjson.OPT_SERIALIZE_NUMPY)
    if len(parts) == 1:
        return Written(parts)
    return Written(parts, "application/octet-stream", {"inference-header-content-length": str(len(parts[0]))})


def _array(result: dict[str, Any], name: str, number: type[np.floating[Any]]) -> np.ndarray:
    if name.startswith("TOP_"):
        found = result["top"][name.removeprefix("TOP_").lower()]
    elif name in STATISTICS:
        found = result[STATISTICS[name]]
    elif name == "LOSS":
        found = result["loss"]
    elif name.startswith("LOSS_"):
        found = result["losses"][name.removeprefix("LOSS_")]
    elif name.startswith("PER_QUERY_"):
        found = result["per_query"][name.removeprefix("PER_QUERY_")]
    else:
        found = result["grad"][name.removeprefix("GRAD_").lower()]
    if isinstance(found, float):
        found = number(found)
    array: np.ndarray = np.ascontiguousarray(found)
    return array.reshape(1) if array.ndim == 0 else array
