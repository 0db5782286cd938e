"""Clients that ask and check without end, each on a thread and a keep-alive connection of its own."""

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

from tests.chaos.jobs import Prepared
from tests.chaos.wire import Wire


class Clients:
    """`with Clients(port, jobs, 16) as clients:` keeps 16 requests under way; leaving waits for their last answers.

    The first request that is not answered rightly ends its client and is raised when the block is left.
    """

    def __init__(self, port: int, jobs: Sequence[Prepared], count: int) -> None:
        self._port = port
        self._jobs = jobs
        self._stopping = threading.Event()
        self._pool = ThreadPoolExecutor(count)
        self._futures: list[Future[None]] = []
        self.answered = [0] * count

    def __enter__(self) -> Self:
        self._futures = [self._pool.submit(self._serve, index) for index in range(len(self.answered))]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._pool.shutdown()
        if error is None:
            for future in self._futures:
                future.result()

    def until_each_has_answers(self, more: int = 1, within_s: float = 60.0) -> None:
        """Wait until every client has got so many more answers."""
        before = list(self.answered)
        for future in self._futures:
            if future.done():
                future.result()
        until(lambda: all(now >= then + more for now, then in zip(self.answered, before, strict=True)), within_s)

    def _serve(self, index: int) -> None:
        with Wire(self._port) as wire:
            for turn in itertools.count(index):
                job = self._jobs[turn % len(self._jobs)]
                job.check(wire.ask(job.request))
                self.answered[index] += 1
                if self._stopping.is_set():
                    return


def until(condition: Callable[[], Any], within_s: float, every_s: float = 0.02) -> float:
    """Wait until something is so; the seconds it took."""
    began_s = time.monotonic()
    while not condition():
        assert time.monotonic() < began_s + within_s, f"not within {within_s:g} s"
        time.sleep(every_s)
    return time.monotonic() - began_s
