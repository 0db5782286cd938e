"""Room for requests: reserved before a body is read, given back exactly once."""

import math
import time
from collections.abc import Callable
from typing import Self

from service.errors import Overloaded
from service.ledger import Ledger

JSON_MEMORY_FACTOR = 20
"""Bytes of memory that decoding one byte of JSON may take, as measured on a body of zeros."""

STALLED_S = 2.0
"""A body of which nothing came for so long gives its place up as soon as another request wants it."""

_LONGEST_RETRY_S = 60.0


class Admission:
    """Admits requests while the API processes together have room and the deadline can be met.

    Args:
        ledger: what all API processes have admitted.
        max_jobs: requests admitted at once.
        max_bytes: memory that all of them together may need; a single larger one is admitted when it is alone.
        wait_s: seconds until a job that comes now would begin to be computed, as foretold, whatever kind it is of.
        drain_s: seconds until all that waits now has been computed; `wait_s` if None.

    """

    def __init__(
        self,
        ledger: Ledger,
        max_jobs: int,
        max_bytes: int,
        wait_s: Callable[[], float] = lambda: 0.0,
        drain_s: Callable[[], float] | None = None,
    ) -> None:
        self.max_jobs = max_jobs
        self.max_bytes = max_bytes
        self._ledger = ledger
        self._wait_s = wait_s
        self._drain_s = drain_s or wait_s
        self._open: dict[Reservation, None] = {}

    @property
    def jobs(self) -> int:
        """Requests that this process has admitted and not answered."""
        return len(self._open)

    @property
    def all_jobs(self) -> int:
        """Requests admitted by all processes that live."""
        self._ledger.sweep()
        return self._ledger.jobs

    @property
    def bytes(self) -> int:
        """Memory that the requests admitted by all processes may need."""
        return self._ledger.bytes

    @property
    def connections(self) -> int:
        """Connections that all processes have open."""
        return self._ledger.connections

    def connected(self, connections: int, most: int) -> int:
        """So many connections more, or less; how many there are, without those of dead processes if over `most`."""
        self._ledger.add_connections(connections)
        if (known := self._ledger.connections) <= most:
            return known
        self._ledger.sweep()
        return self._ledger.connections

    def reserve(self, expected_bytes: int, deadline_s: float = math.inf) -> "Reservation":
        """Room for one request that must be answered by `deadline_s`.

        Raises:
            Overloaded: there is no room, or the deadline would be missed; says when to come again.

        """
        if self._ledger.jobs >= self.max_jobs:
            self._ledger.sweep()
            if self._ledger.jobs >= self.max_jobs and not self._evict_stalled():
                raise Overloaded(f"All {self.max_jobs} places are taken.", retry_after_s=self._retry_after_s())
        self.check_deadline(deadline_s, self._wait_s)
        self._check_bytes(expected_bytes, 0)
        reservation = Reservation(self)
        reservation.resize(expected_bytes)
        self._ledger.add(jobs=1)
        self._open[reservation] = None
        return reservation

    def check_deadline(self, deadline_s: float, wait_s: Callable[[], float], own_s: float = 0.0) -> None:
        """Raise Overloaded if a job that waits for `wait_s()` and takes `own_s` would be late.

        A job that need not wait is always tried: what it takes is only foretold. One that is late already is not
        refused for what waits.
        """
        left_s = deadline_s - time.monotonic()
        if _is_late(wait_s(), own_s, left_s):
            self._ledger.sweep()
            if _is_late(waits_s := wait_s(), own_s, left_s):
                foretold = f"about {waits_s + own_s:.3g} s, and its deadline is {left_s:.3g} s away"
                again_s = _bounded(waits_s + own_s - left_s)
                raise Overloaded(f"The request would have to wait: it would take {foretold}.", retry_after_s=again_s)

    def _retry_after_s(self) -> float:
        """When what waits now has been computed, at the rate measured."""
        return _bounded(self._drain_s())

    def _check_bytes(self, more_bytes: int, own_bytes: int) -> None:
        others = self._ledger.bytes - own_bytes
        if others and others + more_bytes > self.max_bytes:
            self._ledger.sweep()
        while (others := self._ledger.bytes - own_bytes) and others + more_bytes > self.max_bytes:
            if not self._evict_stalled():
                came = f"The request may need {more_bytes} bytes of memory"
                free = max(self.max_bytes - others, 0)
                raise Overloaded(f"{came}; {free} are free.", retry_after_s=self._retry_after_s())

    def _evict_stalled(self) -> bool:
        """End the request whose body has stalled for longest; false if none has."""
        now_s = time.monotonic()
        stalled = [each for each in self._open if each.on_evict and now_s - each.last_came_s() > STALLED_S]
        if not stalled:
            return False
        min(stalled, key=lambda each: each.last_came_s()).evict()
        return True

    def evict_all_stalled(self) -> None:
        """End every request whose body has stalled: nothing is waited for at shutdown that may never come."""
        while self._evict_stalled():
            pass

    def _release(self, reservation: "Reservation", reserved_bytes: int) -> None:
        del self._open[reservation]
        self._ledger.add(jobs=-1, size_bytes=-reserved_bytes)


class Reservation:
    """One request's room; a context manager that gives it back, once however often it is closed.

    `last_came_s` tells when the last part of its body came, and `on_evict` ends a request whose body is being read.
    """

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._bytes = 0
        self._open = True
        now_s = time.monotonic()
        self.last_came_s: Callable[[], float] = lambda: now_s
        self.on_evict: Callable[[], None] | None = None

    def resize(self, needed_bytes: int) -> None:
        """Hold room for so many bytes instead. Raises Overloaded if there is none; the old room is kept then."""
        if not self._open:
            return
        if needed_bytes > self._bytes:
            self._admission._check_bytes(needed_bytes, self._bytes)
        self._admission._ledger.add(size_bytes=needed_bytes - self._bytes)
        self._bytes = needed_bytes

    def check_deadline(self, deadline_s: float, wait_s: Callable[[], float], own_s: float) -> None:
        """Raise Overloaded if the job would be late; see `Admission.check_deadline`."""
        self._admission.check_deadline(deadline_s, wait_s, own_s)

    def evict(self) -> None:
        """Give the room to another request: the body stalled."""
        end, self.on_evict = self.on_evict, None
        self.close()
        if end is not None:
            end()

    def close(self) -> None:
        """Give the room back."""
        if self._open:
            self._open = False
            self._admission._release(self, self._bytes)
            self._bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _is_late(wait_s: float, own_s: float, left_s: float) -> bool:
    return wait_s > 0 and wait_s + own_s > left_s > 0


def _bounded(retry_after_s: float) -> float:
    return min(max(retry_after_s, 1.0), _LONGEST_RETRY_S)
