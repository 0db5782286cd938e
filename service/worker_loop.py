"""What a worker does all day: take in jobs, compute batches, answer.

One thread does all of it, since handing every message to another costs more than a small batch. Jobs that arrive
during a computation wait in the socket; when it lasts, an attendant thread takes the socket over and answers for it.
While a GPU computes, the thread that waits for it forms the next batch.
"""

import os
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import zmq

from service.announcement import Announcement
from service.attendant import Attendant
from service.batcher import Batch, Batcher
from service.errors import DeadlinePassed
from service.forecast import Forecast
from service.job import Job, Outcome
from service.mailbox import Mailbox
from service.memory import memory_in_use
from service.metrics.worker import WorkerMetrics
from service.pulse import Pulse
from service.stopwatch import Stopwatch
from service.text.desk import Desk
from service.worker import Situation, Worker

if TYPE_CHECKING:
    from service.traces.spans import Traces

ALL_CORES_FROM_S = 2e-3
"""A CPU batch whose scores are predicted to take longer than this on one thread gets all cores."""


class WorkerLoop:
    """Serves jobs from `address` until `end`.

    Args:
        worker: computes; only the thread that calls `run` touches it.
        batcher: where jobs wait.
        context: the ZeroMQ context, shared with the API's end for an inproc address.
        address: where to listen.
        announcement: survives a kill, so that the next worker knows what this one was computing.
        pulse: by which the supervisor sees that this worker lives and gets on.
        metrics: what is measured.
        desk: receives the text jobs, and tokenises them before they go to the batcher.
        traces: told of every batch, if there are any.

    """

    def __init__(
        self,
        worker: Worker,
        batcher: Batcher,
        context: zmq.Context[Any],
        address: str,
        announcement: Announcement,
        pulse: Pulse,
        metrics: WorkerMetrics,
        desk: Desk,
        traces: "Traces | None" = None,
    ) -> None:
        self._worker = worker
        self._batcher = batcher
        self._announcement = announcement
        self._pulse = pulse
        self._metrics = metrics
        self._desk = desk
        self._traces = traces
        self._stopwatch = Stopwatch()
        self._forecast = Forecast()
        self._forecast.cost_model = batcher.cost_model
        self._end_by_s: float | None = None
        self._announced: tuple[Job, ...] = ()
        self._computing: frozenset[bytes] = frozenset()
        self._ahead: Batch | None = None
        self._cancelled: set[bytes] = set()
        self._told_models = desk.public()
        self._state = {
            "pid": os.getpid(),
            "device": str(worker.device),
            "incarnation": os.urandom(8).hex(),
            "suspects": [job_id.hex() for job_id in announcement.read()],
            "cost_model": asdict(batcher.cost_model),
        }
        worker.on_split = metrics.split
        announcement.write(())
        announcement.write_text(None)
        desk.announce = announcement.write_text
        self._mailbox = Mailbox(
            context,
            address,
            state=lambda: self._state | {"models": desk.public()},
            knows=self._is_in_hand,
            on_job=self._put,
            on_cancel=self._cancel,
        )

    def run(self) -> None:
        """Compute until ended and empty; closes what it opened.

        Raises ContextLost once the device is of no more use: what was being computed stays announced.
        """
        device, memory = self._worker.device, self._metrics.memory
        attendant = Attendant(self._pulse, self._attend, lambda: memory(str(device), memory_in_use(device)))
        attendant.start()
        self._desk.start(self._mailbox.wake)
        try:
            while self._receive_until_there_is_work():
                self._compute_next(lambda job: True)
        finally:
            self._desk.close()
            attendant.stop()
            self._mailbox.close()
            self._announcement.close()
            self._pulse.close()

    def end(self, within_s: float) -> None:
        """Finish the jobs that wait, for at most `within_s`, then let `run` return. Any thread may call it, once."""
        self._end_by_s = time.monotonic() + within_s
        self._mailbox.wake()

    def _receive_until_there_is_work(self) -> bool:
        """Take in what has arrived, waiting if nothing has; false when the end has come."""
        with self._mailbox.lock:
            self._receive()
            while not len(self._batcher) and self._ahead is None:
                if self._end_by_s is not None and not len(self._desk):
                    return False
                if not self._mailbox.wait(self._patience_ms()):
                    return False
                self._receive()
        return self._end_by_s is None or time.monotonic() < self._end_by_s

    def _patience_ms(self) -> int | None:
        return None if self._end_by_s is None else max(0, round(1e3 * (self._end_by_s - time.monotonic())))

    def _receive(self) -> None:
        """Take in messages, and texts that have been tokenised; what became of a model is told before its texts."""
        self._mailbox.receive()
        taken, models = self._desk.take(), self._desk.public()
        if models != self._told_models:
            self._told_models = models
            self._mailbox.tell_state()
        for each in taken:
            if isinstance(each, Job):
                self._batcher.put(each)
            else:
                self._mailbox.answer([each])
        self._metrics.waiting(self._batcher, len(self._desk), self._ahead)

    def _compute_next(self, fits: Callable[[Job], bool]) -> None:
        with self._mailbox.lock:  # between two forwards of texts the attendant may be at the batcher as well
            late = self._batcher.expire(time.monotonic())
            self._mailbox.answer(Outcome(job.id, error=_TOO_LATE.to_wire()) for job in late)
            batch = self._take_ahead() or self._batcher.take(fits)
            self._metrics.waiting(self._batcher, len(self._desk), self._ahead)
            if batch is None:
                return
            interrupted = self._announced
            self._announce((*interrupted, *batch.jobs))
        self._compute(batch, fits, interrupted)

    def _take_ahead(self) -> Batch | None:
        """What is left of the batch that was formed while the last one was computed."""
        ahead, self._ahead = self._ahead, None
        if ahead is None or self._cancelled.isdisjoint(job.id for job in ahead.jobs):
            return ahead
        self._worker.forget_prepared()
        jobs = [job for job in ahead.jobs if job.id not in self._cancelled]
        return Batch.of(jobs) if jobs else None

    def _form_ahead(self, fits: Callable[[Job], bool]) -> None:
        """Form the next batch while the device computes."""
        with self._mailbox.lock:
            self._receive()
            if self._ahead is not None:
                return
            self._ahead = self._batcher.take(fits)
        if self._ahead is not None:
            self._worker.prepare(self._ahead)

    def _compute_tensors_between(self) -> None:
        """Between two forwards of texts: a batch of tensors that waits goes first, for it is short."""
        with self._mailbox.lock:
            self._receive()
        self._compute_next(lambda job: job.kind != "text")

    def _compute(self, batch: Batch, fits: Callable[[Job], bool], interrupted: tuple[Job, ...]) -> None:
        situation = Situation(
            all_cores=self._batcher.cost_model.device_s(batch.cost, batch.padded) > ALL_CORES_FROM_S,
            cancelled=self._cancelled,
            between=self._compute_tensors_between,
            meanwhile=lambda: self._form_ahead(fits),
        )
        with self._stopwatch.stretch() as stretch:
            outcomes = self._worker.run(batch, situation)
        self._batcher.limit_cost(self._worker.memory.max_batch_cost)
        with self._mailbox.lock:
            self._mailbox.answer(outcomes)
            self._receive()  # a job that was sent again meanwhile is still known as computed
            self._announce(interrupted)
            if not interrupted:
                self._cancelled.intersection_update(job.id for job in (self._ahead.jobs if self._ahead else ()))
        for job, outcome in zip(batch.jobs, outcomes, strict=True):
            self._forecast.learn(job, outcome.share_s)
        self._metrics.computed(batch, outcomes, stretch.own_s)
        if self._traces is not None:
            self._traces.computed(batch, outcomes, str(self._worker.device))

    def _announce(self, jobs: tuple[Job, ...]) -> None:
        """Tell others that these are being computed now."""
        self._announced = jobs
        self._computing = frozenset(job.id for job in jobs)
        self._announcement.write(jobs)
        if jobs:
            self._pulse.begin(max(job.deadline_s for job in jobs), sum(map(self._forecast.expect_s, jobs)))
        else:
            self._pulse.rest()

    def _attend(self) -> None:
        """Answer hellos, and let jobs be cancelled, while a computation lasts."""
        if self._computing and self._mailbox.lock.acquire(blocking=False):
            try:
                if self._computing:  # else the other thread is at the batcher
                    self._mailbox.receive()
                    self._metrics.waiting(self._batcher, len(self._desk), self._ahead)
            finally:
                self._mailbox.lock.release()

    def _is_in_hand(self, job_id: bytes) -> bool:
        ahead = self._ahead
        return job_id in self._computing or (ahead is not None and any(job.id == job_id for job in ahead.jobs))

    def _put(self, job: Job) -> None:
        if job.kind != "text":
            self._batcher.put(job)
        elif job.id not in self._batcher:
            self._desk.put(job)

    def _cancel(self, job_id: bytes) -> None:
        if self._is_in_hand(job_id):
            self._cancelled.add(job_id)
        elif not self._batcher.remove(job_id):
            self._desk.remove(job_id)


_TOO_LATE = DeadlinePassed("The deadline passed before the computation began.")
