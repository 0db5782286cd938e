"""Arrays of several jobs become the tensors of one call: stacked along batch, padded to the longest if they differ."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor

from service.batcher import Batch
from service.job import Job

_LAYOUT = {"query": "bhnd", "key": "bhmd", "value": "bhmd", "mask": "bhnm"}
"""Axes of each array: batch, heads, queries n, keys m, head dim."""

_LENGTHS = {"query_lengths": "n", "key_lengths": "m"}
"""Which size of a job each of them is where it is not given."""


@dataclass(frozen=True)
class Collated:
    """The tensors of one call, and the part of it that belongs to each job."""

    device: torch.device
    tensors: dict[str, Tensor]
    slices: tuple[slice, ...]


def collate(batch: Batch, device: torch.device) -> Collated:
    """Tensors of the batch on the device; padding is hidden behind the lengths."""
    jobs = batch.jobs
    ends = list(accumulate(job.batch for job in jobs))
    names = dict.fromkeys(name for job in jobs for name in job.arrays)
    if batch.padded:
        names |= dict.fromkeys(_LENGTHS)
    dtype = getattr(torch, jobs[0].options["dtype"])
    tensors = {}
    for name in names:
        tensor = torch.from_numpy(
            _lengths(name, jobs) if name in _LENGTHS else _stacked(name, jobs, ends, batch.padded)
        )
        if name.rpartition(".")[2] in ("query", "key", "value", "other_query", "other_key"):
            tensor = tensor.to(dtype)
        if device.type == "cuda":
            tensor = tensor.pin_memory()  # or the copy would wait for the device
        tensors[name] = tensor.to(device, non_blocking=True)
    return Collated(device, tensors, tuple(slice(end - job.batch, end) for end, job in zip(ends, jobs, strict=True)))


def _lengths(name: str, jobs: Sequence[Job]) -> np.ndarray:
    """Given lengths, and the whole length of jobs that give none."""
    lengths: list[int] = []
    for job in jobs:
        own = job.arrays.get(name)
        lengths += [getattr(job, _LENGTHS[name])] * job.batch if own is None else own.tolist()
    return np.array(lengths, np.int64)


def _stacked(name: str, jobs: Sequence[Job], ends: Sequence[int], padded: bool) -> np.ndarray:
    """The jobs' arrays below each other, each in the corner of its own entries; a size of 1 is repeated."""
    arrays = [job.arrays[name] for job in jobs]
    if len(arrays) == 1:
        return arrays[0]
    layout = _layout(name, jobs[0])
    last = arrays[0].shape[-1]
    sizes = {"n": max(job.n for job in jobs), "m": max(job.m for job in jobs), "d": last, "k": last}
    sizes["h"] = max(array.shape[1] for array in arrays)
    shape = tuple(sizes[axis] for axis in layout[1:])
    if all(array.shape == (job.batch, *shape) for array, job in zip(arrays, jobs, strict=True)):
        return np.concatenate(arrays)
    whole = (np.zeros if padded else np.empty)((ends[-1], *shape), arrays[0].dtype)
    for array, job, end in zip(arrays, jobs, ends, strict=True):
        own = (slice(job.n if axis == "n" else job.m if axis == "m" else None) for axis in layout[1:])
        whole[(slice(end - job.batch, end), *own)] = array
    return whole


def _layout(name: str, job: Job) -> str:
    if name in _LAYOUT:
        return _LAYOUT[name]
    _, number, array = name.split(".")
    layout: str = job.options["losses"][int(number)]["axes"][array]
    return layout
