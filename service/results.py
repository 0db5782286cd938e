"""What a call computed, on its way out: to the host, cut into each job's share, and never with a NaN."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from service.errors import ComputeFailed, Invalid, path_of
from service.job import Job
from service.reduction import Reduced

_PER_KEY = ("received", "key", "value")
"""Arrays with a row for each key; all others have one for each query."""


@dataclass(frozen=True)
class Computed:
    """Tensors of a whole batch, on its device.

    `losses` are those of a job, in order; `totals` and what they are reduced to have a number for each job, everything
    else its entries along batch, padded to the longest.
    """

    statistics: Mapping[str, Tensor]
    losses: Sequence[Reduced]
    totals: Tensor | None
    gradients: Mapping[str, Tensor]
    backend: str
    device: str


def cut(jobs: Sequence[Job], parts: Sequence[slice], computed: Computed) -> list[dict[str, Any]]:
    """Each job's share, in its own shape and rank, as numpy arrays; statistics in float32 or float64."""
    statistics = {name: _on_the_host(tensor) for name, tensor in computed.statistics.items()}
    gradients = {name: _on_the_host(tensor) for name, tensor in computed.gradients.items()}
    losses = [
        (_on_the_host(loss.values), _on_the_host(loss.kept), _on_the_host(loss.reduced), loss.own_rule)
        for loss in computed.losses
    ]
    totals = None if computed.totals is None else _on_the_host(computed.totals)
    results = []
    for number, (job, part) in enumerate(zip(jobs, parts, strict=True)):
        result: dict[str, Any] = {name: _own(array, name, job, part) for name, array in statistics.items()}
        if "top_index" in result:
            result["top"] = {"index": result.pop("top_index"), "weight": result.pop("top_weight")}
        if totals is not None:
            result |= _losses(job, number, part, losses, totals)
        if gradients:
            own = {name: _own(array, name, job, part) for name, array in gradients.items() if name in job.arrays}
            result["grad"] = own
        results.append(result | {"backend": computed.backend, "device": computed.device})
    return results


def _on_the_host(tensor: Tensor) -> np.ndarray:
    wide = tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
    array: np.ndarray = wide.detach().cpu().numpy()
    return array


def _own(array: np.ndarray, name: str, job: Job, part: slice) -> np.ndarray:
    """The job's part of an array of the batch: padding cut off, in the rank of the job."""
    place: list[int | slice] = [part.start if job.options["rank"] == 2 else part]
    place.append(slice(None) if job.options["rank"] == 4 else 0)
    if name == "weights":
        windows = job.options["queries"], job.options["keys"]
        place += [slice(None if window else size) for window, size in zip(windows, (job.n, job.m), strict=True)]
    else:
        place.append(slice(job.m if name in _PER_KEY else job.n))
    return np.ascontiguousarray(array[tuple(place)])


def _losses(
    job: Job,
    number: int,
    part: slice,
    losses: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray, bool]],
    totals: np.ndarray,
) -> dict[str, Any]:
    result: dict[str, Any] = {}
    labels = [loss["label"] for loss in job.options["losses"]]
    if "loss" in job.options["returns"]:
        unreduced = job.options["reduction"] == "none"
        result["loss"] = totals[number]
        result["losses"] = {
            label: _units(kept, job, part) if unreduced and not own_rule else reduced[number]
            for label, (_, kept, reduced, own_rule) in zip(labels, losses, strict=True)
        }
    if "per_query" in job.options["returns"]:
        result["per_query"] = {
            label: _units(values, job, part) for label, (values, *_) in zip(labels, losses, strict=True)
        }
    return result


def _units(array: np.ndarray, job: Job, part: slice) -> np.ndarray:
    """The job's values per query [batch, heads, n], per head [batch, heads] or per entry [batch], in its rank."""
    if array.ndim == 3:
        return _own(array, "per_query", job, part)
    lead = (part.start if job.options["rank"] == 2 else part, slice(None) if job.options["rank"] == 4 else 0)
    own = array[lead[: array.ndim]]
    return np.ascontiguousarray(own) if own.ndim else own


def checked(result: dict[str, Any]) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """(result, no error), or (no result, error) if a number overflowed: an answer never holds NaN."""
    with np.errstate(over="ignore", invalid="ignore"):
        place = _not_finite(result)
    if place is None:
        return result, None
    if place.startswith("results["):
        return None, ComputeFailed(f"The model gives no finite number at {place}.").to_wire()
    if place == "loss" and _not_finite({name: value for name, value in result.items() if name != "loss"}) is None:
        return None, Invalid.field("losses", "weight × loss overflows float32 in the total").to_wire()
    error = Invalid.field(
        "query", f"scores or sums overflow at {place}; send smaller values, a smaller scale, or dtype float64"
    )
    return None, error.to_wire()


def _not_finite(tree: dict[str, Any], *, nested: bool = False) -> str | None:
    for name, value in tree.items():
        if isinstance(value, dict):
            place = _not_finite(value, nested=name in ("losses", "per_query", "grad"))
            if place is not None:
                return f"{name}.{place}"
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for i, item in enumerate(value):
                if (place := _not_finite(item)) is not None:
                    return f"{name}[{i}].{place}"
        elif isinstance(value, (np.ndarray, np.floating, float)):
            array = np.asarray(value)
            if array.dtype.kind != "f" or math.isfinite(np.add.reduce(array, axis=None)):
                continue  # a sum is finite only if all that it is of is
            bad = ~np.isfinite(array)
            if name == "lse" and not nested:
                bad &= ~np.isneginf(array)
            if np.any(bad):
                index = np.argwhere(bad)[0] if array.ndim else ()
                return path_of(name, *(int(i) for i in index))
    return None
