"""What the API processes of one service have admitted: a row for each in a mapped file that all of them read."""

import contextlib
import fcntl
import mmap
import os
from pathlib import Path

import numpy as np

_ROWS = 256
_PID, _JOBS, _BYTES, _CONNECTIONS, _SECONDS = range(5)


class Ledger:
    """A row of this process's own, and the sums over all rows.

    A row is written by its own process alone, so nothing is locked: two processes that look at the same moment may
    both see the last place. Rows of processes that died are taken out by `sweep`.

    Args:
        path: the file, made if it is not there; None for a process that shares with none.
        workers: how many workers serve, each with columns of the seconds that it is expected to need, for tensors
            and for texts.

    Raises:
        OSError: every row belongs to a process that lives.

    """

    def __init__(self, path: Path | None = None, workers: int = 1) -> None:
        columns = _SECONDS + 2 * workers
        size = _ROWS * columns * 8
        with contextlib.ExitStack() as claiming:
            descriptor = -1
            if path is not None:
                file = claiming.enter_context(path.open("a+b"))
                fcntl.flock(file, fcntl.LOCK_EX)
                claiming.callback(fcntl.flock, file, fcntl.LOCK_UN)  # the map keeps the file open, and so its lock
                file.truncate(size)
                descriptor = file.fileno()
            self._map = mmap.mmap(descriptor, size)
            self._table = np.ndarray((columns, _ROWS), np.float64, self._map)
            self.sweep()
            free = np.flatnonzero(self._table[_PID] == 0)
            if not len(free):
                raise OSError(f"{path} has no row left: {_ROWS} API processes share one service")
            self._row = int(free[0])
            self._table[:, self._row] = 0
            self._table[_PID, self._row] = os.getpid()

    @property
    def jobs(self) -> int:
        """Requests admitted by all processes."""
        return int(self._table[_JOBS].sum())

    @property
    def bytes(self) -> int:
        """Memory that all of them may need."""
        return int(self._table[_BYTES].sum())

    @property
    def connections(self) -> int:
        """Connections that all processes have open."""
        return int(self._table[_CONNECTIONS].sum())

    def seconds(self, worker: int, *, texts: bool = False) -> float:
        """Seconds that this worker is expected to need for the tensors, or the texts, of all processes."""
        return float(self._table[_SECONDS + 2 * worker + texts].sum())

    def add(self, *, jobs: int = 0, size_bytes: int = 0) -> None:
        """Change this process's counts."""
        self._table[_JOBS, self._row] += jobs
        self._table[_BYTES, self._row] += size_bytes

    def add_connections(self, connections: int) -> None:
        """Change this process's count of open connections."""
        self._table[_CONNECTIONS, self._row] += connections

    def set_seconds(self, worker: int, seconds: float, *, texts: bool = False) -> None:
        """Tell what this process's jobs of tensors, or of texts, are expected to take of a worker."""
        self._table[_SECONDS + 2 * worker + texts, self._row] = seconds

    def sweep(self) -> None:
        """Take out what processes that died had admitted."""
        for row in np.flatnonzero(self._table[_PID]):
            pid = self._table[_PID, row]
            if not _lives(int(pid)) and self._table[_PID, row] == pid:  # it may have been claimed again meanwhile
                self._table[:, row] = 0

    def close(self) -> None:
        """Take this process out, and give the map back."""
        self._table[:, self._row] = 0
        del self._table
        self._map.close()


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
