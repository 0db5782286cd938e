"""Who starts the worker when several API processes share one: the first to lock the run directory."""

import asyncio
import multiprocessing
import os
import signal
from types import FrameType
from typing import Any

from service.rundir import RunDirectory
from service.settings import Settings
from service.supervisor import Supervisor

_POLL_S = 1.0

WORKER_ENVIRONMENT = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}
"""Threads of a CPU batch must not spin while they wait for the next: it halves the throughput of everything else."""


HEAP_ENVIRONMENT = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(256 << 20)}
"""Bodies and arrays come from glibc's heap: fresh pages for each of them cost a request 0.8 ms of page faults."""


def group_name() -> str:
    """Names the processes that share a worker: those that one `uvicorn --workers N` started, else this one alone."""
    parent = multiprocessing.parent_process()
    return str(os.getpid() if parent is None else parent.pid)


def worker_supervisor(directory: RunDirectory, settings: Settings) -> Supervisor:
    """A supervisor of the worker that serves this run directory."""

    def give_up(why: str) -> None:
        directory.gave_up.write_text(why)

    return Supervisor(
        "service.worker_main",
        {"settings": settings.model_dump(mode="json"), "directory": str(directory.path)},
        environment={**WORKER_ENVIRONMENT, **HEAP_ENVIRONMENT, "PROMETHEUS_MULTIPROC_DIR": str(directory.metrics)},
        came_up=lambda pid: directory.up(pid).exists(),
        on_death=directory.forget,
        on_give_up=give_up,
    )


def given_up(directory: RunDirectory) -> str | None:
    """Why no worker is expected to come up, or None while one is."""
    try:
        return directory.gave_up.read_text()
    except FileNotFoundError:
        return None


class Ownership:
    """Starts the worker if no process of the group has, and takes over when that process ends."""

    def __init__(self, directory: RunDirectory, settings: Settings) -> None:
        self._directory = directory
        self._settings = settings
        self._supervisor: Supervisor | None = None
        self._claiming: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Claim the worker now, or keep trying."""
        if not self._claim():
            self._claiming = asyncio.get_running_loop().create_task(self._keep_claiming())

    async def close(self) -> None:
        """End the worker if it is this process's, after the other processes have ended."""
        if self._claiming is not None:
            self._claiming.cancel()
        if self._supervisor is not None:
            loop = asyncio.get_running_loop()
            end_s = loop.time() + self._settings.drain_s
            while not self._directory.lock("members") and loop.time() < end_s:
                await asyncio.sleep(0.05)
            await asyncio.to_thread(self._supervisor.stop, 5.0)

    def _claim(self) -> bool:
        if not self._directory.lock("owner"):
            return False
        self._supervisor = worker_supervisor(self._directory, self._settings)
        self._supervisor.start()
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
