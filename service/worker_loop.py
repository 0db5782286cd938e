"""The worker's end of the link: receives jobs, computes batches, sends outcomes.

One thread does all of it, since handing every message to another costs more than a small batch. Jobs that arrive
during a computation wait in the socket; when it lasts, an attendant thread takes the socket over and answers for it.
"""

import os
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import orjson
import structlog
import zmq

from service.announcement import Announcement
from service.batcher import Batch, Batcher
from service.errors import DeadlinePassed
from service.job import Job, Outcome
from service.messages import CANCEL, HELLO, JOB, STATE, job_from, outcome_frames, send
from service.metrics import WorkerMetrics
from service.text.desk import Desk
from service.worker import Worker

ALL_CORES_FROM_S = 2e-3
"""A CPU batch predicted to take longer than this on one thread gets all cores."""

_ROUTE_BYTES = 8
_ATTENDANCE_S = 0.25

log = structlog.get_logger()


class WorkerLoop:
    """Serves jobs from `address` until `end`.

    Args:
        worker: computes; only the thread that calls `run` touches it.
        batcher: where jobs wait.
        context: the ZeroMQ context, shared with the API's end for an inproc address.
        address: where to listen.
        announcement: survives a kill, so that the next worker knows what this one was computing.
        metrics: what is measured.
        desk: receives the text jobs, and tokenises them before they go to the batcher.

    """

    def __init__(
        self,
        worker: Worker,
        batcher: Batcher,
        context: zmq.Context[Any],
        address: str,
        announcement: Announcement,
        metrics: WorkerMetrics,
        desk: Desk,
    ) -> None:
        self._worker = worker
        self._batcher = batcher
        self._announcement = announcement
        self._metrics = metrics
        self._link = threading.Lock()
        self._waking = threading.Lock()
        self._ended = threading.Event()
        self._computing: frozenset[bytes] = frozenset()
        self._announced: tuple[Job, ...] = ()
        self._cancelled: set[bytes] = set()
        self._end_by_s: float | None = None
        self._state = {
            "pid": os.getpid(),
            "device": str(worker.device),
            "incarnation": os.urandom(8).hex(),
            "suspects": [job_id.hex() for job_id in announcement.read()],
        }
        announcement.write(())
        announcement.write_text(None)
        desk.announce = announcement.write_text
        self._router = context.socket(zmq.ROUTER)
        self._router.set(zmq.ROUTER_HANDOVER, 1)
        self._router.set(zmq.SNDHWM, 0)
        self._router.set(zmq.RCVHWM, 0)
        self._router.set(zmq.LINGER, 2000)
        self._router.bind(address)
        self._wake_read, self._wake_write = os.pipe()
        self._poller = zmq.Poller()
        self._poller.register(self._router, zmq.POLLIN)
        self._poller.register(self._wake_read, zmq.POLLIN)
        self._desk = desk

    def run(self) -> None:
        """Compute until ended and empty; closes what it opened."""
        attendant = threading.Thread(target=self._attend, name="attendant", daemon=True)
        attendant.start()
        self._desk.start(self._wake)
        try:
            while self._receive_until_there_is_work():
                self._compute_next(lambda job: True)
        finally:
            self._ended.set()
            self._desk.close()
            attendant.join()
            self._router.close()
            self._announcement.close()
            with self._waking:
                os.close(self._wake_read)
                os.close(self._wake_write)
                self._wake_write = -1

    def end(self, within_s: float) -> None:
        """Finish the jobs that wait, for at most `within_s`, then let `run` return. Any thread may call it, once."""
        self._end_by_s = time.monotonic() + within_s
        self._wake()

    def _wake(self) -> None:
        """Let `run` look around; any thread may call it."""
        with self._waking:
            if self._wake_write >= 0:
                os.write(self._wake_write, b"!")

    def _receive_until_there_is_work(self) -> bool:
        """Take in what has arrived, waiting if nothing has; false when the end has come."""
        with self._link:
            self._receive()
            self._take_tokenised()
            while not len(self._batcher):
                if self._end_by_s is not None and not len(self._desk):
                    return False
                if dict(self._poller.poll(self._patience_ms())).get(self._wake_read):
                    os.read(self._wake_read, 4096)
                elif self._end_by_s is not None and time.monotonic() >= self._end_by_s:
                    return False
                self._receive()
                self._take_tokenised()
        return self._end_by_s is None or time.monotonic() < self._end_by_s

    def _patience_ms(self) -> int | None:
        return None if self._end_by_s is None else max(0, round(1e3 * (self._end_by_s - time.monotonic())))

    def _take_tokenised(self) -> None:
        for each in self._desk.take():
            if isinstance(each, Job):
                self._batcher.put(each)
            else:
                send(self._router, [each.job_id[:_ROUTE_BYTES], *outcome_frames(each)])

    def _compute_next(self, fits: Callable[[Job], bool]) -> None:
        late = self._batcher.expire(time.monotonic())
        self._answer(Outcome(job.id, error=_TOO_LATE.to_wire()) for job in late)
        batch = self._batcher.take(fits)
        self._metrics.waiting(len(self._batcher))
        if batch is not None:
            self._compute(batch)

    def _compute_tensors_between(self) -> None:
        """Between two forwards of texts: a batch of tensors that waits goes first, for it is short."""
        with self._link:
            self._receive()
            self._take_tokenised()
        self._compute_next(lambda job: job.kind != "text")

    def _compute(self, batch: Batch) -> None:
        interrupted = self._announced
        self._announced = (*interrupted, *batch.jobs)
        self._computing = frozenset(job.id for job in self._announced)
        self._announcement.write(self._announced)
        single_thread_s = self._batcher.cost_model.predict_s(batch.cost, batch.padded)
        if not interrupted:
            self._cancelled.clear()
        outcomes = self._worker.run(
            batch,
            all_cores=single_thread_s > ALL_CORES_FROM_S,
            cancelled=self._cancelled,
            between=self._compute_tensors_between,
        )
        self._announced = interrupted
        self._announcement.write(interrupted)
        self._answer(outcomes)
        with self._link:
            self._receive()  # a job that was sent again meanwhile is still known as computed
        self._computing = frozenset(job.id for job in interrupted)
        self._metrics.computed(batch, outcomes)

    def _answer(self, outcomes: Iterable[Outcome]) -> None:
        with self._link:
            for outcome in outcomes:
                send(self._router, [outcome.job_id[:_ROUTE_BYTES], *outcome_frames(outcome)])

    def _attend(self) -> None:
        """Answer hellos, and let jobs be cancelled, while a computation lasts."""
        while not self._ended.wait(_ATTENDANCE_S):
            if self._computing and self._link.acquire(blocking=False):
                try:
                    if self._computing:  # else the other thread is at the batcher
                        self._receive()
                finally:
                    self._link.release()

    def _receive(self) -> None:
        while self._router.get(zmq.EVENTS) & zmq.POLLIN:
            sender, *frames = self._router.recv_multipart(copy=False)
            self._understand(sender.bytes, frames)

    def _understand(self, sender: bytes, frames: list[zmq.Frame]) -> None:
        kind = frames[0].bytes
        if kind == HELLO:
            state = self._state | {"models": self._desk.public()}
            self._router.send_multipart([sender, STATE, orjson.dumps(state)])
        elif kind == JOB:
            if frames[1].bytes not in self._computing:  # sent again after a lost connection
                self._put(job_from(frames))
        elif kind == CANCEL:
            job_id = frames[1].bytes
            if job_id in self._computing:
                self._cancelled.add(job_id)
            elif not self._batcher.remove(job_id):
                self._desk.remove(job_id)

    def _put(self, job: Job) -> None:
        if job.kind != "text":
            self._batcher.put(job)
        elif job.id not in self._batcher:
            self._desk.put(job)


_TOO_LATE = DeadlinePassed("The deadline passed before the computation began.")
