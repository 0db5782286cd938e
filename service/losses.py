"""From a loss of a request to what the worker reads: options, and arrays that travel beside them."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from attnloss.errors import FieldError
from attnloss.registry import LOSSES
from attnloss.shapes import Shapes, check_other, index_fits, resolve_target_kind
from service.arrays import as_floats, check_map, in_rank_4
from service.errors import Invalid
from service.schemas import LossEntry, LossRequest, OtherMap

_AXES = {"dense": "bhnm", "map": "bhnm", "index": "bhn", "positions": "bhn", "sparse": "bhnk"}
"""Axes in rank 4 of each kind of array: batch, heads, queries n, keys m, head dim d, k keys of a query."""

_BY_PLACE = ("target", "index", "positions", "indices")
"""Kinds of parameters that name keys by number."""


@dataclass(frozen=True)
class JobLoss:
    """One loss of a job.

    `options` tell its name, label, path in the request, weight and parameters, and of each array its place in the
    request and its axes in rank 4; `by_place` is whether it names keys by number, which must be below the job's own m.
    `cost` is what it takes besides the pass that all losses share, in score elements.
    """

    label: str
    options: dict[str, Any]
    arrays: dict[str, np.ndarray]
    cost: int


@dataclass(frozen=True)
class _Array:
    place: str
    axes: str
    given: np.ndarray


def job_loss(entry: LossEntry, path: str, request: LossRequest, shapes: Shapes) -> JobLoss:
    """Check the shapes of a loss's arrays. Raises Invalid that names the field by its place in the request."""
    name: str = entry.name  # type: ignore[attr-defined]
    fields = {key: item for key in type(entry).model_fields if (item := getattr(entry, key)) is not None}
    given = {key: item for key, item in fields.items() if isinstance(item, np.ndarray)}
    parameters = {key: item for key, item in fields.items() if key not in {*given, "name", "label", "weight"}}
    places = {key: f"{path}.{key}" for key in given}
    if name == "cross_entropy":
        if not given and request.probability is not None:
            given, places = {"probability": request.probability}, {"probability": "probability"}
        if ("target" in given) == ("probability" in given):
            came = " and ".join(given) or "none"
            raise Invalid.field(path, f"expected one of target and probability, came {came}")
    try:
        arrays = _arrays(name, given, places, parameters, shapes)
        if isinstance(other := parameters.pop("other", None), OtherMap):
            arrays |= _other(other, path, parameters, shapes)
    except FieldError as error:
        place = places.get(error.field) or f"{path}.{error.field.replace('other_', 'other.')}"
        raise Invalid.field(place, str(error)) from None
    options = {
        "name": name,
        "label": entry.label or name,
        "path": path,
        "weight": entry.weight,
        "places": {key: [array.place, array.given.ndim - len(array.axes) + 2] for key, array in arrays.items()},
        "axes": {key: array.axes for key, array in arrays.items()},
        "parameters": parameters,
        "by_place": any(part.kind in _BY_PLACE for part in LOSSES[name].parameters),
    }
    rank_4 = {key: _in_rank_4(array, request.dtype, shapes) for key, array in arrays.items()}
    return JobLoss(entry.label or name, options, rank_4, _cost(name, arrays, shapes))


def _cost(name: str, arrays: dict[str, _Array], shapes: Shapes) -> int:
    spec = LOSSES[name]
    passes = spec.passes + any(parameter.kind == "other" for parameter in spec.parameters)
    sparse = sum(array.given.size for array in arrays.values() if array.axes == "bhnk")
    return passes * shapes.cost + spec.row_cost * shapes.n + sparse


def _arrays(
    name: str, given: dict[str, np.ndarray], places: dict[str, str], parameters: dict[str, Any], shapes: Shapes
) -> dict[str, _Array]:
    kinds = {parameter.name: parameter.kind for parameter in LOSSES[name].parameters}
    arrays = {}
    for key, array in given.items():
        kind: str = kinds[key]
        if kind == "target":
            integer, weighted = array.dtype.kind == "i", "target_weights" in given
            kind = resolve_target_kind(array.shape, integer, parameters.get("kind"), shapes, weighted=weighted)
            parameters["kind"] = kind
        elif kind == "shares":
            kind = _shares(array, given.get("target"))
        elif kind in ("index", "positions"):
            _check_per_query(key, kind, array, shapes)
        if _AXES[kind] == "bhnm":
            check_map(places[key], array, shapes)
        arrays[key] = _Array(places[key], _AXES[kind], array)
    return arrays


def _shares(array: np.ndarray, target: np.ndarray | None) -> str:
    if target is None:
        raise FieldError("target_weights", (), "they belong to a sparse target, came without a target")
    if array.shape != target.shape:
        expected = f"expected the target's shape {list(target.shape)}"
        raise FieldError("target_weights", (), f"{expected}, came {list(array.shape)}")
    return "sparse"


def _check_per_query(key: str, kind: str, array: np.ndarray, shapes: Shapes) -> None:
    numbers, dtypes = ("integers", "i") if kind == "index" else ("numbers", "if")
    if not (index_fits(array.shape, shapes) and array.dtype.kind in dtypes):
        expected = f"{numbers} of shape [{shapes.n}] or {list(shapes.restored(shapes.n))}"
        raise FieldError(key, (), f"expected {expected}, came {array.dtype.name} of shape {list(array.shape)}")


def _other(other: OtherMap, path: str, parameters: dict[str, Any], shapes: Shapes) -> dict[str, _Array]:
    check_other(shapes, other.query.shape, other.key.shape)
    if other.scale is not None:
        parameters["other_scale"] = other.scale
    return {
        "other_query": _Array(f"{path}.other.query", "bhnd", other.query),
        "other_key": _Array(f"{path}.other.key", "bhmd", other.key),
    }


def _in_rank_4(array: _Array, dtype: str, shapes: Shapes) -> np.ndarray:
    tail = len(array.axes) - 2
    if array.given.dtype.kind == "i" and array.axes in ("bhn", "bhnk"):
        return in_rank_4(array.given.astype(np.int64), tail, shapes)
    return in_rank_4(as_floats(array.given, dtype, array.place), tail, shapes)
