"""A worker's pulse: a mapped file by which others see that it lives, and since when it computes."""

import mmap
import os
import time
from pathlib import Path

import numpy as np

_PID, _BEAT, _BEGAN, _DUE, _EXPECTED = range(5)


class Pulse:
    """Written by the worker, read by its supervisor and by the API processes; times are of the monotonic clock."""

    def __init__(self, path: Path) -> None:
        with path.open("ab") as file:
            file.truncate(5 * 8)
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 5 * 8)
        self._cells = np.frombuffer(self._map, np.float64)

    def beat(self) -> None:
        """The worker's attendant is alive."""
        self._cells[_BEAT] = time.monotonic()
        self._cells[_PID] = os.getpid()

    def begin(self, due_s: float, expected_s: float) -> None:
        """A batch is being computed: its last deadline, and what it is expected to take."""
        self._cells[_EXPECTED] = expected_s
        self._cells[_DUE] = due_s
        self._cells[_BEGAN] = time.monotonic()

    def rest(self) -> None:
        """Nothing is being computed."""
        self._cells[_BEGAN] = 0.0

    def done_s(self) -> float:
        """Seconds of the running batch that are over, at most what it was expected to take."""
        began_s, expected_s = float(self._cells[_BEGAN]), float(self._cells[_EXPECTED])
        return min(time.monotonic() - began_s, expected_s) if began_s else 0.0

    def trouble(self, pid: int, silence_s: float, overdue_s: float) -> str | None:
        """What is wrong with the worker of this process id, in a sentence, or None; one that never beat is fine.

        Args:
            pid: of the worker.
            silence_s: how long it may give no beat.
            overdue_s: how long it may compute past the last deadline of a batch.

        """
        now_s = time.monotonic()
        beat_s, began_s, due_s = (float(self._cells[cell]) for cell in (_BEAT, _BEGAN, _DUE))
        if int(self._cells[_PID]) != pid:
            return None
        if now_s - beat_s > silence_s:
            return f"no heartbeat for {now_s - beat_s:.1f} s"
        if began_s and now_s - due_s > overdue_s:
            return f"it computes since {now_s - began_s:.1f} s, {now_s - due_s:.1f} s past the last deadline"
        return None

    def close(self) -> None:
        """Give the map back."""
        del self._cells
        self._map.close()
