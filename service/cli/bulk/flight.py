"""Batches of lines in flight: several requests at once, their rows in the order of the lines."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from service.cli.backend import TextRefused
from service.cli.bulk.inputs import Line

Result = dict[str, Any] | str
"""What came of a line: the service's result, or the sentence that says why there is none."""

Score = Callable[[Sequence[str]], list[dict[str, Any]]]
Scored = list[tuple[Line, Result]]

MOST_BATCH_BYTES = 1 << 20


def batches(lines: Iterable[Line], most_texts: int) -> Iterator[list[Line]]:
    """Lines in groups that go into one request each."""
    batch: list[Line] = []
    size = 0
    for line in lines:
        line_bytes = len(line.text or "") * 4
        if batch and (len(batch) == most_texts or size + line_bytes > MOST_BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += line_bytes
    if batch:
        yield batch


def score_batch(lines: Sequence[Line], score: Score, abandoned: Callable[[], bool] = lambda: False) -> Scored:
    """One request for all the texts; if it is refused, one for each, so that a bad text fails alone."""
    texts = [(i, line.text) for i, line in enumerate(lines) if line.text is not None]
    found: dict[int, Result] = {}
    if texts:
        try:
            found = dict(zip([i for i, _ in texts], score([text for _, text in texts]), strict=True))
        except TextRefused as refused:
            found = {texts[0][0]: refused.detail} if len(texts) == 1 else {}
            for i, text in texts if len(texts) > 1 else ():
                if abandoned():
                    raise InterruptedError from None
                found[i] = _alone(text, score)
    return [(line, found.get(i, line.error or "")) for i, line in enumerate(lines)]


def _alone(text: str, score: Score) -> Result:
    try:
        return score([text])[0]
    except TextRefused as refused:
        return refused.detail


class Flight:
    """Scores batches on threads. Iterate over it for what comes back, and call `settle` once that is written.

    At most two batches a thread are read ahead, so memory does not grow with the input.
    """

    def __init__(self, groups: Iterator[list[Line]], score: Score, concurrency: int) -> None:
        self._groups, self._score = groups, score
        self._most_flying = 2 * concurrency
        self._pool = ThreadPoolExecutor(concurrency, "score")
        self._flying: deque[Future[Scored]] = deque()
        self._abandoned = threading.Event()

    def __iter__(self) -> Iterator[Scored]:
        while True:
            while len(self._flying) < self._most_flying and (group := next(self._groups, None)):
                self._flying.append(self._pool.submit(score_batch, group, self._score, self._abandoned.is_set))
            if not self._flying:
                return
            yield self._flying[0].result()

    def landed(self) -> Iterator[Scored]:
        """What is there without waiting."""
        while self._flying and (first := self._flying[0]).done() and not first.cancelled() and not first.exception():
            yield first.result()

    def settle(self) -> None:
        """What came last is written: an interruption before this gives it again, none after."""
        self._flying.popleft()

    def abandon(self) -> None:
        """Begin nothing more; what runs is not waited for."""
        self._abandoned.set()
        self._pool.shutdown(wait=False, cancel_futures=True)
