"""Waiting jobs, and which of them are computed together. A plain data structure: no threads, no clock, no torch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from service.cost import CostModel
from service.forming import BatchLimits as BatchLimits
from service.forming import Extent, Forming, in_order
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
        extent = Extent()
        for job in jobs:
            extent = extent.with_job(job)
        return cls(tuple(jobs), extent.cost, extent.padded)


class Batcher:
    """Jobs in order of arrival; `take` gives the oldest and all that pay to be computed with it.

    Since every batch holds the oldest job, a job waits for at most as many batches as there were jobs before it.
    `cost` is that of all jobs that wait.
    """

    def __init__(self, limits: BatchLimits, cost_model: CostModel) -> None:
        self.limits = limits
        self.cost_model = cost_model
        self.cost = 0
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
        if job.id not in self._waiting:
            self._waiting[job.id] = job
            self.cost += job.cost

    def remove(self, job_id: bytes) -> bool:
        """Forget a job nobody waits for; false if it is not here any more."""
        job = self._waiting.pop(job_id, None)
        self.cost -= 0 if job is None else job.cost
        return job is not None

    def expire(self, now_s: float) -> list[Job]:
        """Take out the jobs whose deadline has passed."""
        late = [job for job in self._waiting.values() if job.deadline_s <= now_s]
        for job in late:
            self.remove(job.id)
        return late

    def take(self, fits: Callable[[Job], bool] = lambda job: True) -> Batch | None:
        """The oldest job that fits and its batch-mates, or None if none waits."""
        head = next(filter(fits, self._waiting.values()), None)
        if head is None:
            return None
        forming = Forming(head, self.limits, self.cost_model)
        if not (head.alone or forming.full):
            for job in in_order(head, self._mates(head), self.cost_model):
                forming.add_if_it_pays(job)
        for job in forming.jobs:
            self.remove(job.id)
        return Batch(tuple(forming.jobs), forming.extent.cost, forming.extent.padded)

    def _mates(self, head: Job) -> list[Job]:
        return [job for job in self._waiting.values() if job is not head and job.group == head.group and not job.alone]
