"""The directory of a running service: sockets, what workers announce, the ledger, the metrics of all processes."""

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
import time
from pathlib import Path
from typing import IO

_PREFIX = "attnloss-"
_LONGEST_SOCKET_PATH = 100
_SWEEP_AGE_S = 30.0


class RunDirectory:
    """A 0700 directory that the processes of one service share. It holds no data that outlives them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._locks: dict[str, IO[str]] = {}

    @classmethod
    def open(cls, parent: Path | None, name: str) -> "RunDirectory":
        """Create or join the directory `attnloss-<user>-<name>`, after sweeping those whose service is gone.

        Raises:
            OSError: the path belongs to another user, or is too long for a socket.

        """
        base = parent or Path(tempfile.gettempdir())
        sweep(base)
        path = base / f"{_PREFIX}{os.getuid()}-{name}"
        if len(str(path / "link-255")) > _LONGEST_SOCKET_PATH:
            raise OSError(f"{path} is too long for a socket; set ATTNLOSS_RUN_DIRECTORY to a shorter path")
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o700)
        status = path.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or stat.S_IMODE(status.st_mode) != 0o700:
            raise OSError(f"{path} exists and is not a directory of mode 0700 owned by user {os.getuid()}")
        (path / "metrics").mkdir(exist_ok=True)
        return cls.join(path)

    @classmethod
    def join(cls, path: Path) -> "RunDirectory":
        """Become a member of a directory that is there: the last member to leave removes it."""
        directory = cls(path)
        directory.lock("members", shared=True)
        return directory

    @classmethod
    def work_in(cls, path: Path) -> "RunDirectory":
        """Be a worker of a directory that is there; it stays until the worker left as well."""
        directory = cls(path)
        directory.lock("workers", shared=True)
        return directory

    @property
    def ledger(self) -> Path:
        """What the API processes have admitted."""
        return self.path / "ledger"

    def worker(self, index: int) -> "WorkerFiles":
        """The files of one of the service's workers."""
        return WorkerFiles(self.path, index)

    @property
    def metrics(self) -> Path:
        """Where prometheus-client keeps the numbers of every process."""
        return self.path / "metrics"

    def up(self, pid: int) -> Path:
        """Exists once the process of this id got as far as to work."""
        return self.path / f"up-{pid}"

    def lock(self, name: str, *, shared: bool = False) -> bool:
        """Take a lock that the kernel gives back when this process ends; false if another holds it."""
        file = self._locks.get(name) or (self.path / f"{name}.lock").open("a")
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except OSError:
            if name in self._locks:
                fcntl.flock(file, fcntl.LOCK_SH)  # a failed upgrade has lost the shared lock
            else:
                file.close()
            return False
        self._locks[name] = file
        return True

    def is_held(self, name: str) -> bool:
        """Whether another process has a lock for itself."""
        with (self.path / f"{name}.lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                return True
            return False

    def forget(self, pid: int) -> None:
        """Remove the present state, but not the counts, of a process that died."""
        self.forget_gauges(pid)
        self.up(pid).unlink(missing_ok=True)

    def forget_gauges(self, pid: int) -> None:
        """Remove what a process measured of its present."""
        for path in self.metrics.glob(f"gauge_live*_{pid}.db"):
            path.unlink(missing_ok=True)

    def close(self) -> None:
        """Leave, and remove the directory if nobody else is a member.

        The own lock goes first: of two members that leave at once, the later one finds the directory empty.
        """
        for file in self._locks.values():
            file.close()
        self._locks.clear()
        _remove_if_empty(self.path)


class WorkerFiles:
    """What one worker shares with the API processes and with its supervisor."""

    def __init__(self, path: Path, index: int) -> None:
        self._path = path
        self._index = index

    @property
    def address(self) -> str:
        """Where the worker listens."""
        return f"ipc://{self._path}/link-{self._index}"

    @property
    def announced(self) -> Path:
        """Ids of the jobs that the worker is computing."""
        return self._path / f"announced-{self._index}"

    @property
    def pulse(self) -> Path:
        """Its heartbeat."""
        return self._path / f"pulse-{self._index}"

    @property
    def cost_model(self) -> Path:
        """What batching costs on its device, as the first of its workers measured it."""
        return self._path / f"cost-{self._index}"

    @property
    def failure(self) -> Path:
        """Why the last start of the worker failed, in a sentence."""
        return self._path / f"failure-{self._index}"

    @property
    def gave_up(self) -> Path:
        """Exists while nobody expects a worker to come up; says why."""
        return self._path / f"gave-up-{self._index}"

    def given_up(self) -> str | None:
        """Why no worker is expected to come up, or None while one is."""
        try:
            return self.gave_up.read_text()
        except FileNotFoundError:
            return None


def _remove_if_empty(path: Path) -> None:
    last = RunDirectory(path)
    with contextlib.suppress(OSError), contextlib.ExitStack() as held:
        alone = all(last.lock(name) for name in ("members", "workers"))
        for file in last._locks.values():
            held.callback(file.close)
        if alone:
            shutil.rmtree(path, ignore_errors=True)


def sweep(base: Path) -> None:
    """Remove directories of this user whose service was killed."""
    for path in base.glob(f"{_PREFIX}{os.getuid()}-*"):
        with contextlib.suppress(OSError):
            if time.time() - path.lstat().st_mtime >= _SWEEP_AGE_S:
                _remove_if_empty(path)
