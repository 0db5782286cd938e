"""The worker's socket: messages of the API processes in, outcomes out, and a way to be woken while it waits."""

import os
import threading
from collections.abc import Callable, Iterable
from typing import Any

import orjson
import zmq

from service.job import Job, Outcome
from service.messages import CANCEL, HELLO, JOB, STATE, job_from, outcome_frames, receive, send

_ROUTE_BYTES = 8


class Mailbox:
    """A ROUTER socket that one thread uses at a time, which holds `lock` meanwhile.

    Args:
        context: the ZeroMQ context, shared with the API's end for an inproc address.
        address: where to listen.
        state: what a hello is answered with.
        on_job: told a job that came; `knows` first whether its id is known, so that it need not be read again.
        on_cancel: told the id of a job nobody waits for.

    """

    def __init__(
        self,
        context: zmq.Context[Any],
        address: str,
        *,
        state: Callable[[], dict[str, Any]],
        knows: Callable[[bytes], bool],
        on_job: Callable[[Job], None],
        on_cancel: Callable[[bytes], None],
    ) -> None:
        self.lock = threading.Lock()
        self._waking = threading.Lock()
        self._state = state
        self._knows = knows
        self._on_job = on_job
        self._on_cancel = on_cancel
        self._acquainted: set[bytes] = set()
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

    def wait(self, timeout_ms: int | None) -> bool:
        """Wait for a message, or to be woken; false if the time is over."""
        events = dict(self._poller.poll(timeout_ms))
        if events.get(self._wake_read):
            os.read(self._wake_read, 4096)
        return bool(events)

    def wake(self) -> None:
        """End a wait; any thread may call it."""
        with self._waking:
            if self._wake_write >= 0:
                os.write(self._wake_write, b"!")

    def receive(self) -> None:
        """Take in all that has come."""
        while (message := receive(self._router)) is not None:
            sender, *frames = message
            self._understand(sender.bytes, frames)

    def tell_state(self) -> None:
        """Send the state to every API process that ever said hello; to those that are gone it is not delivered."""
        state = orjson.dumps(self._state())
        for receiver in self._acquainted:
            self._router.send_multipart([receiver, STATE, state])

    def answer(self, outcomes: Iterable[Outcome]) -> None:
        """Send each outcome to the API process whose job it is of."""
        for outcome in outcomes:
            send(self._router, [outcome.job_id[:_ROUTE_BYTES], *outcome_frames(outcome)])

    def close(self) -> None:
        """Close the socket, after what was sent has gone out, and the pipe."""
        self._router.close()
        with self._waking:
            os.close(self._wake_read)
            os.close(self._wake_write)
            self._wake_write = -1

    def _understand(self, sender: bytes, frames: list[zmq.Frame]) -> None:
        kind = frames[0].bytes
        if kind == HELLO:
            self._acquainted.add(sender)
            self._router.send_multipart([sender, STATE, orjson.dumps(self._state())])
        elif kind == JOB:
            if not self._knows(frames[1].bytes):  # else it was sent again after a lost connection
                self._on_job(job_from(frames))
        elif kind == CANCEL:
            self._on_cancel(frames[1].bytes)
