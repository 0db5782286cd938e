"""Room for requests: reserved before a body is read, given back exactly once."""

from collections.abc import Callable
from typing import Self

from service.errors import Overloaded

JSON_MEMORY_FACTOR = 20
"""Bytes of memory that decoding one byte of JSON may take, as measured on a body of zeros."""

_RETRY_AFTER_S = 1.0


class Admission:
    """Counts the requests that an API process has admitted and the memory they may need.

    Args:
        max_jobs: requests admitted at once.
        max_bytes: memory that all of them together may need; a single larger one is admitted when it is alone.
        on_change: told the number of admitted requests.

    """

    def __init__(self, max_jobs: int, max_bytes: int, on_change: Callable[[int], None] = lambda _: None) -> None:
        self.max_jobs = max_jobs
        self.max_bytes = max_bytes
        self.jobs = 0
        self.bytes = 0
        self._on_change = on_change

    def reserve(self, expected_bytes: int) -> "Reservation":
        """Room for one request. Raises Overloaded if there is none."""
        if self.jobs >= self.max_jobs:
            raise Overloaded(f"All {self.max_jobs} places are taken.", retry_after_s=_RETRY_AFTER_S)
        reservation = Reservation(self)
        self.jobs += 1
        try:
            reservation.resize(expected_bytes)
        except Overloaded:
            self.jobs -= 1
            raise
        self._on_change(self.jobs)
        return reservation

    def _release(self, reserved_bytes: int) -> None:
        self.jobs -= 1
        self.bytes -= reserved_bytes
        self._on_change(self.jobs)


class Reservation:
    """One request's room; a context manager that gives it back, once however often it is closed."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._bytes = 0
        self._open = True

    def resize(self, needed_bytes: int) -> None:
        """Hold room for so many bytes instead. Raises Overloaded if there is none; the old room is kept then."""
        others = self._admission.bytes - self._bytes
        if others and others + needed_bytes > self._admission.max_bytes:
            raise Overloaded(
                f"The request may need {needed_bytes} bytes of memory; {self._admission.max_bytes - others} are free.",
                retry_after_s=_RETRY_AFTER_S,
            )
        self._admission.bytes = others + needed_bytes
        self._bytes = needed_bytes

    def close(self) -> None:
        """Give the room back."""
        if self._open:
            self._open = False
            self._admission._release(self._bytes)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
