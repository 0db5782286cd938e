"""The API process's end of the link: sends jobs to the worker, hands each its outcome, outlives the worker.

Everything runs on the event loop's thread. A job's arrays are kept until its outcome came, so that a worker's death
costs time and no answer: a new worker is told everything that is still owed, and says which jobs its predecessor was
computing when it died. Those run again one by one; one that was alone at its second death ends in ComputeFailed.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
import structlog
import zmq
from zmq.utils.monitor import parse_monitor_message

from service.cost import CostModel
from service.errors import ComputeFailed, DeadlinePassed, ServiceError, Unavailable
from service.forecast import Forecast
from service.job import Job, Outcome
from service.known_worker import WorkerState
from service.messages import CANCEL, HELLO, OUTCOME, STATE, job_frames, outcome_from, receive, send

HELLO_INTERVAL_S = 0.5
SILENCE_S = 3.0
"""A worker that answers no hello for so long counts as lost until it does."""

log = structlog.get_logger()


@dataclass
class _Owed:
    """A job that has no outcome yet."""

    job: Job
    outcome: asyncio.Future[Outcome]
    deaths: int = 0


class Link:
    """Jobs out, outcomes in. `start` and `close` belong to the running event loop.

    Args:
        context: the ZeroMQ context.
        address: where the worker listens: `ipc://...`, or `inproc://...` for a worker in a thread.
        given_up: asked when the worker does not answer; a sentence if nobody tries to restart it any more.
        identity: eight bytes that name this process at the worker, and begin the ids of its jobs.
        on_resubmit: told how many jobs go to a new worker, and whether they were `waiting` or `computing` at the old.

    """

    def __init__(
        self,
        context: zmq.Context[Any],
        address: str,
        given_up: Callable[[], str | None],
        identity: bytes | None = None,
        on_resubmit: Callable[[str, int], None] = lambda cause, jobs: None,
    ) -> None:
        self.worker = WorkerState()
        self.forecast = Forecast()
        self._address = address
        self._given_up = given_up
        self._on_resubmit = on_resubmit
        self._owed: dict[bytes, _Owed] = {}
        self._next_id = 0
        self._identity = identity or os.urandom(8)
        self._socket = context.socket(zmq.DEALER)
        self._socket.set(zmq.ROUTING_ID, self._identity)
        self._socket.set(zmq.LINGER, 0)
        self._socket.set(zmq.IMMEDIATE, 1)
        self._socket.set(zmq.RECONNECT_IVL, 20)
        self._socket.set(zmq.SNDHWM, 0)
        self._socket.set(zmq.RCVHWM, 0)
        self._monitor = self._socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED)
        self._ticker: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Connect and listen."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket.FD, self._on_readable)
        self._loop.add_reader(self._monitor.FD, self._on_monitor)
        self._socket.connect(self._address)
        self._ticker = self._loop.create_task(self._tick())

    async def close(self) -> None:
        """Stop; jobs that are still owed end in Unavailable."""
        if self._ticker is not None:
            self._ticker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._ticker
            self._loop.remove_reader(self._socket.FD)
            self._loop.remove_reader(self._monitor.FD)
        self._fail_all(Unavailable("The service is shutting down.", retry_after_s=1))
        self._socket.disable_monitor()
        self._monitor.close()
        self._socket.close()

    def new_job_id(self) -> bytes:
        """An id that no other job of this machine has."""
        self._next_id += 1
        return self._identity + self._next_id.to_bytes(8, "big")

    @property
    def owed(self) -> int:
        """Jobs without an outcome."""
        return len(self._owed)

    def check(self) -> None:
        """Raise Unavailable if no worker has been up yet, or none comes up any more."""
        if self.worker.state == "starting":
            raise Unavailable("The worker is starting.", retry_after_s=1)
        if self.worker.state == "failed":
            raise Unavailable(self._given_up() or "No worker comes up.", retry_after_s=5)

    async def compute(self, job: Job) -> dict[str, Any]:
        """The job's result, with `queue_s` and `compute_s` beside it.

        Raises:
            ServiceError: what the job ended in; Unavailable if no worker has been up yet or none comes up any more.

        """
        self.check()
        owed = _Owed(job, self._loop.create_future())
        self._owed[job.id] = owed
        if self.worker.state == "ready":
            self._send(job)
        try:
            async with asyncio.timeout(max(job.deadline_s - time.monotonic(), 0)):
                outcome = await owed.outcome
        except TimeoutError:
            self._cancel(job.id)
            raise DeadlinePassed("Not answered before its deadline.") from None
        except asyncio.CancelledError:
            self._cancel(job.id)
            raise
        finally:
            self._owed.pop(job.id, None)
        self.forecast.learn(job, outcome.share_s)
        if outcome.error is not None:
            raise ServiceError.from_wire(outcome.error)
        assert outcome.result is not None
        return {"result": outcome.result, "queue_s": outcome.queue_s, "compute_s": outcome.compute_s}

    def _send(self, job: Job) -> None:
        with contextlib.suppress(zmq.Again):  # not connected: the next STATE brings it on its way
            send(self._socket, job_frames(job))
            self._loop.call_soon(self._on_readable)  # the descriptor is edge-triggered: sending may hide an arrival

    def _cancel(self, job_id: bytes) -> None:
        with contextlib.suppress(zmq.Again):
            send(self._socket, [CANCEL, job_id])

    def _on_readable(self) -> None:
        while not self._socket.closed and (frames := receive(self._socket)) is not None:
            if frames[0].bytes == OUTCOME:
                self._on_outcome(outcome_from(frames))
            elif frames[0].bytes == STATE:
                self._on_state(orjson.loads(frames[1].buffer))

    def _on_outcome(self, outcome: Outcome) -> None:
        owed = self._owed.get(outcome.job_id)
        if owed is not None and not owed.outcome.done():
            owed.outcome.set_result(outcome)

    def _on_state(self, news: dict[str, Any]) -> None:
        returned = self.worker.state != "ready"
        replaced = self.worker.incarnation not in (None, news["incarnation"])
        self.worker = WorkerState(
            "ready", None, news["pid"], news["device"], news["incarnation"], time.monotonic(), news["models"]
        )
        self.forecast.cost_model = CostModel(**news["cost_model"])
        suspects = {bytes.fromhex(job_id) for job_id in news["suspects"]}
        if replaced:
            log.warning("worker replaced", pid=news["pid"], owed=len(self._owed))
            self._blame(suspects)
        if returned or replaced:
            owed = [each for each in self._owed.values() if not each.outcome.done()]  # without those blamed twice
            for each in owed:
                self._send(each.job)
            if replaced:
                computing = sum(each.job.id in suspects for each in owed)
                self._on_resubmit("computing", computing)
                self._on_resubmit("waiting", len(owed) - computing)

    def _blame(self, suspects: set[bytes]) -> None:
        """Jobs that were being computed when a worker died run alone; one that was alone already has failed."""
        for owed in self._owed.values():
            if owed.job.id not in suspects or owed.outcome.done():
                continue
            owed.deaths += 1
            if owed.deaths > 1 and owed.job.alone:
                log.error("job ended two workers", request_id=owed.job.request_id, group=owed.job.group)
                error = ComputeFailed("The worker died twice while it computed this request alone.")
                owed.outcome.set_result(Outcome(owed.job.id, error=error.to_wire()))
            else:
                owed.job = owed.job.on_its_own()

    def _on_monitor(self) -> None:
        while not self._monitor.closed and self._monitor.EVENTS & zmq.POLLIN:
            event = parse_monitor_message(self._monitor.recv_multipart())
            if event["event"] == zmq.EVENT_DISCONNECTED:
                self._lost("the connection closed")
            else:
                self._hello()

    def _lost(self, why: str) -> None:
        if self.worker.state == "ready":
            log.warning("worker lost", pid=self.worker.pid, why=why, owed=len(self._owed))
            self.worker.state, self.worker.why = "restarting", why

    def _hello(self) -> None:
        with contextlib.suppress(zmq.Again):
            send(self._socket, [HELLO])
            self._loop.call_soon(self._on_readable)

    async def _tick(self) -> None:
        while True:
            self._hello()
            self._on_readable()
            self._on_monitor()  # its descriptor speaks only after its events were asked for once
            await asyncio.sleep(HELLO_INTERVAL_S)
            if self.worker.state == "ready":
                if time.monotonic() - self.worker.heard_s > SILENCE_S:
                    self._lost(f"no answer for {SILENCE_S:g} s")
            elif (why := self._given_up()) is not None:
                if self.worker.state != "failed":
                    log.error("no worker comes up", why=why, owed=len(self._owed))
                self.worker.state, self.worker.why = "failed", why
                self._fail_all(Unavailable(why, retry_after_s=5))
            elif self.worker.state == "failed":
                self.worker.state = "restarting"

    def _fail_all(self, error: ServiceError) -> None:
        for owed in self._owed.values():
            if not owed.outcome.done():
                owed.outcome.set_result(Outcome(owed.job.id, error=error.to_wire()))
