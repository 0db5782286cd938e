"""Time of stretches that lie in one another: of each what is its own."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Stretch:
    """`own_s` are its seconds without those of stretches within it, once it is over."""

    own_s: float = 0.0
    _within_s: float = 0.0


class Stopwatch:
    """Measures on one thread."""

    def __init__(self) -> None:
        self._outer: Stretch | None = None

    @contextmanager
    def stretch(self) -> Iterator[Stretch]:
        """Measure what is done in this context."""
        outer, own = self._outer, Stretch()
        self._outer, began_s = own, time.monotonic()
        try:
            yield own
        finally:
            took_s = time.monotonic() - began_s
            own.own_s = took_s - own._within_s
            self._outer = outer
            if outer is not None:
                outer._within_s += took_s
