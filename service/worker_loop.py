"""The worker's end of the link: one thread receives and sends, one computes; the next batch forms meanwhile."""

import mmap
import os
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson
import structlog
import zmq

from service.batcher import Batch, Batcher
from service.errors import DeadlinePassed
from service.job import Job, Outcome
from service.messages import CANCEL, HELLO, JOB, STATE, job_from, outcome_frames, send
from service.metrics import WorkerMetrics
from service.worker import Worker

ALL_CORES_FROM_S = 2e-3
"""A CPU batch predicted to take longer than this on one thread gets all cores."""

_ID_BYTES = 16
_ROUTE_BYTES = 8
_STOP = b"stop"

log = structlog.get_logger()


class Announcement:
    """Ids of the jobs being computed, in a mapped file that outlives a killed process."""

    def __init__(self, path: Path, most_jobs: int) -> None:
        size = 4 + _ID_BYTES * most_jobs
        with path.open("ab") as file:
            file.truncate(size)
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), size)

    def read(self) -> list[bytes]:
        """The ids that were announced last and not withdrawn."""
        count = int.from_bytes(self._map[:4], "little")
        return [self._map[4 + i * _ID_BYTES : 4 + (i + 1) * _ID_BYTES] for i in range(count)]

    def write(self, jobs: Iterable[Job]) -> None:
        """Announce these instead."""
        ids = [job.id for job in jobs]
        self._map[4 : 4 + _ID_BYTES * len(ids)] = b"".join(ids)
        self._map[:4] = len(ids).to_bytes(4, "little")

    def close(self) -> None:
        """Give the map back."""
        self._map.close()


class WorkerLoop:
    """Serves jobs from `address` until `end`.

    Args:
        worker: computes; only the thread that calls `run` touches it.
        batcher: where jobs wait.
        context: the ZeroMQ context, shared with the API's end for an inproc address.
        address: where to listen.
        announcement: survives a kill, so that the next worker knows what this one was computing.
        metrics: what is measured.

    """

    def __init__(
        self,
        worker: Worker,
        batcher: Batcher,
        context: zmq.Context[Any],
        address: str,
        announcement: Announcement,
        metrics: WorkerMetrics,
    ) -> None:
        self._worker = worker
        self._batcher = batcher
        self._context = context
        self._announcement = announcement
        self._metrics = metrics
        self._changed = threading.Condition()
        self._computing: set[bytes] = set()
        self._end_by_s: float | None = None
        self._state = {
            "pid": os.getpid(),
            "device": str(worker.device),
            "incarnation": os.urandom(8).hex(),
            "suspects": [job_id.hex() for job_id in announcement.read()],
        }
        announcement.write(())
        self._router = context.socket(zmq.ROUTER)
        self._router.set(zmq.ROUTER_HANDOVER, 1)
        self._router.set(zmq.SNDHWM, 0)
        self._router.set(zmq.RCVHWM, 0)
        self._router.set(zmq.LINGER, 2000)
        self._router.bind(address)
        outbox = f"inproc://outbox-{self._state['incarnation']}"
        self._inner = context.socket(zmq.PAIR)
        self._inner.bind(outbox)
        self._outbox = context.socket(zmq.PAIR)
        self._outbox.set(zmq.SNDHWM, 0)
        self._outbox.connect(outbox)

    def run(self) -> None:
        """Compute until ended and empty; closes what it opened."""
        mailman = threading.Thread(target=self._exchange, name="link")
        mailman.start()
        try:
            while (work := self._next()) is not None:
                late, batch = work
                self._answer(Outcome(job.id, error=_TOO_LATE.to_wire()) for job in late)
                if batch is not None:
                    self._compute(batch)
        finally:
            self._outbox.send(_STOP)
            mailman.join()
            self._outbox.close()
            self._announcement.close()

    def end(self, within_s: float) -> None:
        """Finish the jobs that wait, for at most `within_s`, then let `run` return. Any thread may call it."""
        with self._changed:
            self._end_by_s = time.monotonic() + within_s
            self._changed.notify()

    def _next(self) -> tuple[list[Job], Batch | None] | None:
        with self._changed:
            self._computing.clear()
            while not len(self._batcher):
                if self._end_by_s is not None:
                    return None
                self._changed.wait()
            if self._end_by_s is not None and time.monotonic() > self._end_by_s:
                return None
            late = self._batcher.expire(time.monotonic())
            batch = self._batcher.take()
            self._metrics.waiting(len(self._batcher))
            if batch is not None:
                self._computing.update(job.id for job in batch.jobs)
        return late, batch

    def _compute(self, batch: Batch) -> None:
        self._announcement.write(batch.jobs)
        single_thread_s = self._batcher.cost_model.predict_s(batch.cost, batch.padded)
        outcomes = self._worker.run(batch, all_cores=single_thread_s > ALL_CORES_FROM_S)
        self._announcement.write(())
        self._metrics.computed(batch, outcomes)
        self._answer(outcomes)

    def _answer(self, outcomes: Iterable[Outcome]) -> None:
        for outcome in outcomes:
            send(self._outbox, [outcome.job_id[:_ROUTE_BYTES], *outcome_frames(outcome)])

    def _exchange(self) -> None:
        """The link's thread: frames in from the API processes, outcomes out to them."""
        poller = zmq.Poller()
        poller.register(self._router, zmq.POLLIN)
        poller.register(self._inner, zmq.POLLIN)
        stopping = False
        while not stopping:
            ready = dict(poller.poll())
            if self._inner in ready:
                stopping = self._forward()
            if self._router in ready:
                self._receive()
        self._inner.close()
        self._router.close()

    def _forward(self) -> bool:
        """Send on what the computing thread wrote; true if it was the end."""
        while self._inner.get(zmq.EVENTS) & zmq.POLLIN:
            frames = self._inner.recv_multipart(copy=False)
            if len(frames) == 1:
                return True
            self._router.send_multipart(frames, copy=False)
        return False

    def _receive(self) -> None:
        with self._changed:
            while self._router.get(zmq.EVENTS) & zmq.POLLIN:
                sender, *frames = self._router.recv_multipart(copy=False)
                self._understand(sender.bytes, frames)
            self._metrics.waiting(len(self._batcher))
            self._changed.notify()

    def _understand(self, sender: bytes, frames: list[zmq.Frame]) -> None:
        kind = frames[0].bytes
        if kind == HELLO:
            self._router.send_multipart([sender, STATE, orjson.dumps(self._state)])
        elif kind == JOB:
            if frames[1].bytes not in self._computing:  # sent again after a lost connection
                self._batcher.put(job_from(frames))
        elif kind == CANCEL:
            self._batcher.remove(frames[1].bytes)


_TOO_LATE = DeadlinePassed("The deadline passed before the computation began.")
