"""Arrays of several jobs become the tensors of one call: stacked along batch, padded to the longest if they differ."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from service.batcher import Batch
from service.job import Job

_LAYOUT = {"query": "bhnd", "key": "bhmd", "value": "bhmd", "mask": "bhnm", "query_lengths": "b", "key_lengths": "b"}
"""Axes of each array: batch, heads, queries n, keys m, head dim."""


@dataclass(frozen=True)
class Collated:
    """The tensors of one call, and the part of it that belongs to each job."""

    tensors: dict[str, Tensor]
    slices: tuple[slice, ...]


def collate(batch: Batch, device: torch.device) -> Collated:
    """Tensors of the batch on the device; padding is hidden behind the lengths."""
    jobs = batch.jobs
    ends = np.cumsum([job.batch for job in jobs]).tolist()
    names = dict.fromkeys(name for job in jobs for name in job.arrays)
    if batch.padded:
        names |= dict.fromkeys(("query_lengths", "key_lengths"))
    tensors = {name: _stacked(name, jobs, batch.padded) for name in names}
    dtype = getattr(torch, jobs[0].options["dtype"])
    for name in tensors:
        if name.rpartition(".")[2] in ("query", "key", "value", "other_query", "other_key"):
            tensors[name] = tensors[name].to(dtype)
    return Collated(
        {name: tensor.to(device, non_blocking=True) for name, tensor in tensors.items()},
        tuple(slice(end - job.batch, end) for end, job in zip(ends, jobs, strict=True)),
    )


def _stacked(name: str, jobs: Sequence[Job], padded: bool) -> Tensor:
    arrays = [torch.from_numpy(_array(name, job)) for job in jobs]
    if len(arrays) == 1:
        return arrays[0]
    layout = _layout(name, jobs[0])
    heads = max(array.shape[1] for array in arrays) if "h" in layout else 1
    sizes = {"h": heads, "n": max(job.n for job in jobs), "m": max(job.m for job in jobs)}
    sizes["d"] = sizes["k"] = arrays[0].shape[-1]
    parts = []
    for array, job in zip(arrays, jobs, strict=True):
        own = {**sizes, "b": job.batch, "n": job.n, "m": job.m}
        parts.append(array.expand([own[axis] for axis in layout]))
    if not padded:
        return torch.cat(parts)
    whole = arrays[0].new_zeros([sum(job.batch for job in jobs), *(sizes[axis] for axis in layout[1:])])
    start = 0
    for part in parts:
        corner = (slice(start, start + part.shape[0]), *(slice(0, size) for size in part.shape[1:]))
        whole[corner] = part
        start += part.shape[0]
    return whole


def _array(name: str, job: Job) -> np.ndarray:
    if name in job.arrays:
        return job.arrays[name]
    return np.full(job.batch, job.n if name == "query_lengths" else job.m, np.int64)


def _layout(name: str, job: Job) -> str:
    if name in _LAYOUT:
        return _LAYOUT[name]
    _, number, array = name.split(".")
    layout: str = job.options["losses"][int(number)]["axes"][array]
    return layout
