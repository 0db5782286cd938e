"""Which of the jobs that could be computed with the oldest one are: a batch forms. No threads, no clock, no torch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from service.cost import CostModel
from service.job import Job


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """No batch of several jobs costs more than `max_cost` or holds more than `max_jobs`."""

    max_cost: int
    max_jobs: int


@dataclass(slots=True)
class Extent:
    """The size of a call over some jobs: every pair of entry and head takes n × m score elements if it is padded."""

    n: int = 0
    m: int = 0
    maps: int = 0
    own_cost: int = 0
    padded: bool = False

    def with_job(self, job: Job) -> "Extent":
        """The extent with one job more. Texts are packed, not padded."""
        if job.kind == "text":
            return Extent(own_cost=self.own_cost + job.cost)
        return self.with_all(Extent(job.n, job.m, job.cost // (job.n * job.m), job.cost))

    def with_all(self, other: "Extent") -> "Extent":
        """The extent of both, in one call."""
        differ = bool(self.maps and other.maps) and (self.n, self.m) != (other.n, other.m)
        return Extent(
            max(self.n, other.n),
            max(self.m, other.m),
            self.maps + other.maps,
            self.own_cost + other.own_cost,
            self.padded or other.padded or differ,
        )

    @property
    def cost(self) -> int:
        """Score elements of the call, padding included."""
        return self.n * self.m * self.maps if self.padded else self.own_cost


class Forming:
    """A batch that grows as long as one call over all is predicted to be faster than a call for each."""

    def __init__(self, head: Job, limits: BatchLimits, cost_model: CostModel) -> None:
        self.jobs = [head]
        self.extent = Extent().with_job(head)
        self._limits = limits
        self._cost_model = cost_model

    @property
    def full(self) -> bool:
        """Whether no job more may come in."""
        return len(self.jobs) >= self._limits.max_jobs

    def add_if_it_pays(self, job: Job) -> None:
        """Let the job in unless a limit or the prediction is against it."""
        extent = self.extent.with_job(job)
        if self.full or extent.cost > self._limits.max_cost:
            return
        predict_s, jobs = self._cost_model.predict_s, len(self.jobs)
        apart_s = predict_s(self.extent.cost, self.extent.padded, jobs) + predict_s(job.cost, padded=False)
        if predict_s(extent.cost, extent.padded, jobs + 1) <= apart_s:
            self.jobs.append(job)
            self.extent = extent


def in_order(head: Job, others: Sequence[Job], cost_model: CostModel) -> list[Job]:
    """Those of the others that should share a call with the head, the closest in size first.

    Jobs of all sizes are better computed in several calls, each of sizes that are close, once the padding that this
    saves takes longer than a call. So they are ordered by size and parted in two where that saves most, and the part
    with the head again, for as long as it saves anything. What is left out heads or joins a later batch.
    """
    if head.kind == "text" or all((job.n, job.m) == (head.n, head.m) for job in others):
        return list(others)
    ordered = sorted((head, *others), key=_size)
    shapes = [list(jobs) for _, jobs in groupby(ordered, key=_size)]
    place = next(i for i, jobs in enumerate(shapes) if _size(jobs[0]) == _size(head))
    first, stop = _part(place, [_extent(jobs) for jobs in shapes], cost_model)
    near = [job for jobs in shapes[first:stop] for job in jobs if job is not head]
    return sorted(near, key=lambda job: (_size(job) != _size(head), abs(math.log(job.n * job.m / (head.n * head.m)))))


def _size(job: Job) -> tuple[int, int]:
    return job.n * job.m, job.n


def _extent(jobs: Sequence[Job]) -> Extent:
    """Of jobs of one shape."""
    n, m = jobs[0].n, jobs[0].m
    cost = sum(job.cost for job in jobs)
    return Extent(n, m, cost // (n * m), cost)


def _part(place: int, extents: Sequence[Extent], cost_model: CostModel) -> tuple[int, int]:
    """The range around `place` that is best computed in one call."""
    first, stop = 0, len(extents)
    while stop - first > 1:
        below, above = _joined(extents[first:stop]), _joined(extents[first:stop][::-1])[::-1]
        whole_s = cost_model.predict_s(below[-1].cost, below[-1].padded)
        apart_s, cut = min(
            (cost_model.predict_s(left.cost, left.padded) + cost_model.predict_s(right.cost, right.padded), i)
            for i, (left, right) in enumerate(zip(below, above[1:], strict=False), first + 1)
        )
        if apart_s >= whole_s:
            break
        first, stop = (cut, stop) if cut <= place else (first, cut)
    return first, stop


def _joined(extents: Sequence[Extent]) -> list[Extent]:
    """The extent of the first, of the first two, and so on."""
    joined = [extents[0]]
    for extent in extents[1:]:
        joined.append(joined[-1].with_all(extent))
    return joined
