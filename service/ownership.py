"""Who starts the workers when several API processes share them: the first to lock the run directory."""

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

from service.devices import worker_devices
from service.pulse import Pulse
from service.rundir import RunDirectory
from service.settings import SECRETS, Settings
from service.supervisor import Child, Supervisor

_POLL_S = 1.0

WORKER_ENVIRONMENT = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0", "OPENBLAS_NUM_THREADS": "1"}
"""Threads of a CPU batch must not spin while they wait for the next: it halves the throughput of everything else.
NumPy's own threads would be lost by a fork, and nothing here multiplies by NumPy."""


HEAP_ENVIRONMENT = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(256 << 20)}
"""Bodies and arrays come from glibc's heap: fresh pages for each of them cost a request 0.8 ms of page faults."""


def group_name() -> str:
    """Names the processes that share a worker: those that one `uvicorn --workers N` started, else this one alone."""
    parent = multiprocessing.parent_process()
    return str(os.getpid() if parent is None else parent.pid)


def worker_supervisors(
    directory: RunDirectory,
    settings: Settings,
    restarted: Callable[[str], None],
    module: str = "service.worker_main",
) -> list[Supervisor]:
    """A supervisor for the worker of every device.

    `restarted` is told of a `worker` that ended unasked; `module` is what a worker process runs.
    """
    return [
        _worker_supervisor(directory, settings, index, device, restarted, module)
        for index, device in enumerate(worker_devices(settings.device))
    ]


def _worker_supervisor(
    directory: RunDirectory,
    settings: Settings,
    index: int,
    device: str,
    restarted: Callable[[str], None],
    module: str,
) -> Supervisor:
    files = directory.worker(index)
    pulse = Pulse(files.pulse)

    def give_up(why: str) -> None:
        cause = files.failure.read_text() if files.failure.exists() else ""
        files.gave_up.write_text(" ".join(filter(None, (why, cause))))

    brief = {"settings": settings.model_dump(mode="json", exclude=set(SECRETS)) | {"device": device}}
    child = Child(
        module,
        brief | {"directory": str(directory.path), "index": index},
        came_up=lambda pid: directory.up(pid).exists(),
        environment={**WORKER_ENVIRONMENT, **HEAP_ENVIRONMENT, "PROMETHEUS_MULTIPROC_DIR": str(directory.metrics)},
        trouble=lambda pid: pulse.trouble(pid, settings.silence_s, settings.overdue_s),
        forks=True,
    )
    return Supervisor(child, on_death=on_death(directory, restarted, "worker"), on_give_up=give_up)


def on_death(directory: RunDirectory, restarted: Callable[[str], None], child: str) -> Callable[[int], None]:
    """What is done with the process id of a child that ended unasked."""

    def forget_and_count(pid: int) -> None:
        directory.forget(pid)
        restarted(child)

    return forget_and_count


class Ownership:
    """Starts the workers if no process of the group has, and takes over when that process ends.

    `restarted` is told of each that ended unasked.
    """

    def __init__(self, directory: RunDirectory, settings: Settings, restarted: Callable[[str], None]) -> None:
        self._directory = directory
        self._settings = settings
        self._restarted = restarted
        self._supervisors: list[Supervisor] = []
        self._claiming: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Claim the workers now, or keep trying."""
        if not self._claim():
            self._claiming = asyncio.get_running_loop().create_task(self._keep_claiming())

    async def close(self) -> None:
        """End the workers if they are this process's, after the other processes have ended."""
        if self._claiming is not None:
            self._claiming.cancel()
        if self._supervisors:
            loop = asyncio.get_running_loop()
            end_s = loop.time() + self._settings.drain_s
            while not self._directory.lock("members") and loop.time() < end_s:
                await asyncio.sleep(0.05)
            for supervisor in self._supervisors:
                supervisor.end()
            for supervisor in self._supervisors:
                await asyncio.to_thread(supervisor.stop, 5.0)

    def _claim(self) -> bool:
        if not self._directory.lock("owner"):
            return False
        self._supervisors = worker_supervisors(self._directory, self._settings, self._restarted)
        for supervisor in self._supervisors:
            supervisor.start()
        return True

    async def _keep_claiming(self) -> None:
        while not self._claim():
            await asyncio.sleep(_POLL_S)


def on_sigterm(mark: Any) -> None:
    """Call `mark` when SIGTERM or SIGINT comes, before the handler that is installed now."""

    def handle(number: int, frame: FrameType | None) -> None:
        mark()
        previous = before[signal.Signals(number)]
        if callable(previous):
            previous(number, frame)

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for number in before:
        signal.signal(number, handle)
