"""Which worker computes a job: the one with the least work before it, as foretold for all API processes together."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from service.admission import Reservation
from service.errors import Unavailable
from service.job import Job
from service.known_worker import best_of_models
from service.ledger import Ledger
from service.link import Link
from service.pulse import Pulse


class Dispatch:
    """The links to all workers of a service, one for each device.

    Args:
        links: one for each worker, all of the same identity, with which job ids begin.
        pulses: of the same workers.
        ledger: where the work of every worker is written down.

    """

    def __init__(self, links: Sequence[Link], pulses: Sequence[Pulse], ledger: Ledger) -> None:
        self.links = tuple(links)
        self._pulses = tuple(pulses)
        self._ledger = ledger
        self._expected_s = {(worker, texts): 0.0 for worker in range(len(self.links)) for texts in (False, True)}

    def start(self) -> None:
        """Connect all links."""
        for link in self.links:
            link.start()

    async def close(self) -> None:
        """Close all links."""
        for link in self.links:
            await link.close()

    def new_job_id(self) -> bytes:
        """An id that no other job of this machine has."""
        return self.links[0].new_job_id()

    @property
    def ready(self) -> bool:
        """Whether any worker can compute now."""
        return any(link.worker.state == "ready" for link in self.links)

    @property
    def workers(self) -> list[dict[str, Any]]:
        """The entries of /health/ready."""
        return [link.worker.public() for link in self.links]

    @property
    def models(self) -> dict[str, dict[str, Any]]:
        """What the workers tell of their text models, by name: the best that any of them says."""
        return best_of_models(entry for link in self.links for entry in link.worker.models)

    def check(self) -> None:
        """Raise Unavailable if no worker has been up yet, or none comes up any more."""
        self._choose(None)

    def wait_s(self) -> float:
        """Seconds until tensors that come now would begin to be computed, as foretold; texts wait longer."""
        return min(self._wait_s(worker, texts=False) for worker in range(len(self.links)))

    def drain_s(self) -> float:
        """Seconds until all that waits now has been computed."""
        return min(self._wait_s(worker, texts=True) for worker in range(len(self.links)))

    async def compute(self, job: Job, reservation: Reservation) -> dict[str, Any]:
        """The job's result from the worker that has least to do; from another if none comes up for the first.

        Raises:
            ServiceError: what the job ended in; Overloaded if it would be late, Unavailable if there is no worker.

        """
        texts = job.kind == "text"
        while True:
            worker = self._choose(job)
            link = self.links[worker]
            own_s = link.forecast.expect_s(job)
            reservation.check_deadline(job.deadline_s, partial(self._wait_s, worker, texts=texts), own_s)
            try:
                with self._expecting(worker, own_s, texts=texts):
                    return await link.compute(job)
            except Unavailable:
                if link.worker.state != "failed" or all(each.worker.state == "failed" for each in self.links):
                    raise

    def _choose(self, job: Job | None) -> int:
        texts = job is not None and job.kind == "text"
        for states in (("ready",), ("restarting",)):
            able = [i for i, link in enumerate(self.links) if link.worker.state in states]
            if job is not None and texts:
                able = [i for i in able if self.links[i].worker.has_model(job.options.get("model"))] or able
            if able:
                return min(able, key=lambda worker: self._wait_s(worker, texts=texts))
        for link in self.links:
            link.check()
        raise AssertionError("a worker that is starting or failed is refused by its link")

    def _wait_s(self, worker: int, *, texts: bool) -> float:
        """Tensors go between the forwards of texts and wait for other tensors only; texts wait for all."""
        before_s = self._ledger.seconds(worker) + (self._ledger.seconds(worker, texts=True) if texts else 0.0)
        return max(before_s - self._pulses[worker].done_s(), 0.0)

    @contextmanager
    def _expecting(self, worker: int, seconds: float, *, texts: bool) -> Iterator[None]:
        """Write down that a worker is busy for so long, while the job has no outcome."""
        self._add(worker, seconds, texts=texts)
        try:
            yield
        finally:
            self._add(worker, -seconds, texts=texts)

    def _add(self, worker: int, seconds: float, *, texts: bool) -> None:
        owed = self.links[worker].owed  # when nothing is owed, rounding errors are forgotten as well
        expected_s = self._expected_s[worker, texts] + seconds if owed or seconds > 0 else 0.0
        self._expected_s[worker, texts] = expected_s
        self._ledger.set_seconds(worker, max(expected_s, 0.0), texts=texts)
