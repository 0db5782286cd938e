"""Progress of training, in a log and on the terminal."""

import math
import time
from pathlib import Path
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


class Reporter:
    """Lines in the log, and on a terminal a bar with rate and remaining time."""

    def __init__(self, log: Path) -> None:
        self._log, self._console = log, Console()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>5.1f}%"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
            speed_estimate_period=600,
        )
        self._task = self._bar.add_task("training", total=1.0)
        self._began_at, self._began_with = time.monotonic(), -1.0

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def moved(self, share: float, loss: float, speed: float) -> None:
        """Moves the bar."""
        if self._began_with < 0:
            self._began_at, self._began_with = time.monotonic(), share
        self._bar.update(self._task, completed=share, description=f"loss {loss:.3f} · {speed:,.0f} tokens/s")

    def wrote(self, line: str, share: float | None = None) -> None:
        """Appends a line, with the share done and the time left where a share is given."""
        if share is not None:
            gained = share - self._began_with
            left_s = (1 - share) * (time.monotonic() - self._began_at) / gained if gained > 0 else math.inf
            line += f" · {100 * share:.1f} %" + (f" · {left_s / 60:.0f} min left" if left_s < math.inf else "")
        with self._log.open("a") as file:
            file.write(f"{time.strftime('%H:%M:%S')} {line}\n")
