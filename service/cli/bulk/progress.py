"""How far a run is: a bar on a terminal, else a plain line every ten seconds, on standard error."""

import sys
import time
from collections.abc import Callable
from typing import Any, Protocol, Self, TextIO

LINE_EVERY_S = 10.0


class Progress(Protocol):
    """Told of texts that were written."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...
    def advance(self, texts: int, done_bytes: int) -> None:
        """So many more texts are written, and the input is done up to this byte."""


def progress(total_bytes: int | None, done_bytes: int, *, quiet: bool) -> Progress:
    """The progress that suits standard error."""
    if quiet:
        return NoProgress()
    return Bar(total_bytes, done_bytes) if sys.stderr.isatty() else Lines(total_bytes, done_bytes)


class NoProgress:
    """Says nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def advance(self, texts: int, done_bytes: int) -> None:
        """See Progress."""


class Lines(NoProgress):
    """A plain line every ten seconds, the first after ten."""

    def __init__(
        self,
        total_bytes: int | None,
        done_bytes: int,
        file: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pace = Pace(total_bytes, done_bytes, clock)
        self._file, self._clock, self._told_s = file or sys.stderr, clock, clock()

    def advance(self, texts: int, done_bytes: int) -> None:
        """See Progress."""
        self._pace.advance(texts, done_bytes)
        if self._clock() - self._told_s >= LINE_EVERY_S:
            self._told_s = self._clock()
            print(f"attnloss: {self._pace.told()}", file=self._file, flush=True)


class Pace:
    """Counts, and says what follows from the counts."""

    def __init__(self, total_bytes: int | None, done_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.texts = 0
        self._total_bytes, self._first_bytes, self._done_bytes = total_bytes, done_bytes, done_bytes
        self._clock, self._began_s = clock, clock()

    def advance(self, texts: int, done_bytes: int) -> None:
        """See Progress."""
        self.texts += texts
        self._done_bytes = done_bytes

    @property
    def texts_per_s(self) -> float:
        """Since the run began; what an earlier run did is not counted."""
        return self.texts / max(self._clock() - self._began_s, 1e-9)

    @property
    def remaining_s(self) -> float | None:
        """If the rest of the input takes as long as what was done, by bytes."""
        done = self._done_bytes - self._first_bytes
        if self._total_bytes is None or done <= 0:
            return None
        return (self._clock() - self._began_s) * max(self._total_bytes - self._done_bytes, 0) / done

    def told(self) -> str:
        """Texts, the share of the input, texts per second, and the time that is left."""
        parts = [f"{self.texts} texts"]
        if self._total_bytes:
            parts.append(f"{self._done_bytes / self._total_bytes:.0%} of the input")
        parts.append(f"{self.texts_per_s:.1f} texts/s")
        if (left_s := self.remaining_s) is not None:
            minutes, seconds = divmod(round(left_s), 60)
            parts.append(f"{minutes}:{seconds:02d} left")
        return ", ".join(parts)


class Bar:
    """A bar of the share of the input that is done."""

    def __init__(self, total_bytes: int | None, done_bytes: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, SpinnerColumn, TextColumn
        from rich.progress import Progress as RichProgress

        self._pace = Pace(total_bytes, done_bytes)
        columns: list[Any] = [SpinnerColumn(), BarColumn(), TextColumn("{task.description}", markup=False)]
        self._rich = RichProgress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._rich.add_task("waiting for the first texts", total=total_bytes, completed=done_bytes)

    def __enter__(self) -> Self:
        self._rich.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._rich.stop()

    def advance(self, texts: int, done_bytes: int) -> None:
        """See Progress."""
        self._pace.advance(texts, done_bytes)
        self._rich.update(self._task, completed=done_bytes, description=self._pace.told())
