"""Waiting jobs, and which of them are computed together. A plain data structure: no threads, no clock, no torch."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from service.cost import CostModel
from service.job import Job


@dataclass(frozen=True, slots=True)
class Batch:
    """Jobs of one call. `cost` counts the score elements of the call, padding included."""

    jobs: tuple[Job, ...]
    cost: int
    padded: bool

    def __len__(self) -> int:
        return len(self.jobs)

    @classmethod
    def of(cls, jobs: Sequence[Job]) -> "Batch":
        """These jobs in one call, which pads if their shapes differ. Texts are never padded here."""
        n, m = max(job.n for job in jobs), max(job.m for job in jobs)
        padded = jobs[0].kind != "text" and any((job.n, job.m) != (n, m) for job in jobs)
        return cls(tuple(jobs), sum(_padded_cost(job, n, m) if padded else job.cost for job in jobs), padded)


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """No batch of several jobs costs more than `max_cost` or holds more than `max_jobs`."""

    max_cost: int
    max_jobs: int


class Batcher:
    """Jobs in order of arrival; `take` gives the oldest and all that pay to be computed with it.

    Since every batch holds the oldest job, a job waits for at most as many batches as there were jobs before it.
    """

    def __init__(self, limits: BatchLimits, cost_model: CostModel) -> None:
        self.limits = limits
        self.cost_model = cost_model
        self._waiting: dict[bytes, Job] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, job_id: bytes) -> bool:
        return job_id in self._waiting

    def limit_cost(self, max_cost: int) -> None:
        """Let no further batch of several jobs cost more."""
        self.limits = replace(self.limits, max_cost=max_cost)

    def put(self, job: Job) -> None:
        """Let a job wait. A job that waits already keeps its place."""
        self._waiting.setdefault(job.id, job)

    def remove(self, job_id: bytes) -> bool:
        """Forget a job nobody waits for; false if it is not here any more."""
        return self._waiting.pop(job_id, None) is not None

    def expire(self, now_s: float) -> list[Job]:
        """Take out the jobs whose deadline has passed."""
        late = [job for job in self._waiting.values() if job.deadline_s <= now_s]
        for job in late:
            del self._waiting[job.id]
        return late

    def take(self, fits: Callable[[Job], bool] = lambda job: True) -> Batch | None:
        """The oldest job that fits and its batch-mates, or None if none waits."""
        head = next(filter(fits, self._waiting.values()), None)
        if head is None:
            return None
        forming = _Forming(head, self.limits, self.cost_model)
        if not head.alone:
            for job in self._companions(head, lambda job: (job.n, job.m) == (head.n, head.m)):
                forming.add_if_it_pays(job)
            for job in self._companions(head, lambda job: (job.n, job.m) != (head.n, head.m)):
                forming.add_if_it_pays(job)
        for job in forming.jobs:
            del self._waiting[job.id]
        return Batch(tuple(forming.jobs), forming.cost, forming.padded)

    def _companions(self, head: Job, fits: Callable[[Job], bool]) -> Iterator[Job]:
        return (
            job
            for job in self._waiting.values()
            if job is not head and job.group == head.group and not job.alone and fits(job)
        )


class _Forming:
    """A batch that grows as long as one call over all is predicted to be faster than a call for each."""

    def __init__(self, head: Job, limits: BatchLimits, cost_model: CostModel) -> None:
        self.jobs = [head]
        self.limits = limits
        self.cost_model = cost_model
        self.n, self.m = head.n, head.m
        self.padded = False
        self.cost = head.cost

    def add_if_it_pays(self, job: Job) -> None:
        n, m = max(self.n, job.n), max(self.m, job.m)
        padded = self.padded or (job.kind != "text" and (job.n, job.m) != (self.n, self.m))
        cost = sum(_padded_cost(member, n, m) for member in (*self.jobs, job)) if padded else self.cost + job.cost
        if len(self.jobs) == self.limits.max_jobs or cost > self.limits.max_cost:
            return
        predict_s = self.cost_model.predict_s
        if predict_s(cost, padded) > predict_s(self.cost, self.padded) + predict_s(job.cost, False):
            return
        self.jobs.append(job)
        self.n, self.m, self.cost, self.padded = n, m, cost, padded


def _padded_cost(job: Job, n: int, m: int) -> int:
    return job.cost // (job.n * job.m) * n * m
