"""A worker process and the API's end of its link, without HTTP: jobs in flight, answers counted."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import psutil
import zmq

from service.job import Job
from service.link import Link
from service.ownership import worker_supervisors
from service.rundir import RunDirectory
from service.settings import Settings

START_TIMEOUT_S = 60.0
DEADLINE_S = 60.0


@dataclass
class Linked:
    """A worker that is ready, and the link to it."""

    link: Link
    process: psutil.Process

    def cpu_s(self) -> float:
        """Seconds of processor that the worker has used."""
        times = self.process.cpu_times()
        return float(times.user + times.system)


@dataclass
class Run:
    """What one stretch of load saw: answers in its window, and the processor time of both ends in it."""

    seconds: float
    jobs: int = 0
    worker_s: float = 0.0
    sender_s: float = 0.0
    answers: dict[int, dict[str, Any]] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Jobs answered per second."""
        return self.jobs / self.seconds


@asynccontextmanager
async def linked(name: str, settings: Settings) -> AsyncIterator[Linked]:
    """Start a worker as the service does, and wait until it is ready."""
    directory = RunDirectory.open(None, f"bench-{os.getpid()}-{name}")
    (supervisor,) = worker_supervisors(directory, settings, restarted=lambda child: None)
    supervisor.start()
    context: zmq.Context[Any] = zmq.Context()
    files = directory.worker(0)
    link = Link(context, files.address, files.given_up)
    link.start()
    try:
        gives_up = time.monotonic() + START_TIMEOUT_S
        while link.worker.state != "ready":
            if time.monotonic() > gives_up:
                raise TimeoutError(f"the worker was not ready within {START_TIMEOUT_S:.0f} s")
            await asyncio.sleep(0.05)
        yield Linked(link, psutil.Process(link.worker.pid))
    finally:
        await link.close()
        context.term()
        await asyncio.to_thread(supervisor.stop, 5.0)
        directory.close()


async def drive(worker: Linked, jobs: Sequence[Job], warm_up_s: float, seconds: float) -> Run:
    """Keep every job in flight, each sent anew when its answer came, and count the answers of the window."""
    run = Run(seconds)
    opens = time.monotonic() + warm_up_s
    closes = opens + seconds

    async def again_and_again(index: int, job: Job) -> None:
        while (now := time.monotonic()) < closes:
            fresh = replace(job, id=worker.link.new_job_id(), deadline_s=now + DEADLINE_S, arrival_s=now)
            answer = await worker.link.compute(fresh)
            run.answers.setdefault(index, answer["result"])
            run.jobs += opens <= time.monotonic() < closes

    tasks = [asyncio.create_task(again_and_again(index, job)) for index, job in enumerate(jobs)]
    await asyncio.sleep(warm_up_s)
    worker_s, sender_s = worker.cpu_s(), time.process_time()
    await asyncio.sleep(closes - time.monotonic())
    run.worker_s, run.sender_s = worker.cpu_s() - worker_s, time.process_time() - sender_s
    await asyncio.gather(*tasks)
    return run


def furthest(ours: Run, theirs: Run) -> float:
    """The largest difference between two runs' answers to the same jobs; infinite where their shapes differ."""
    most = 0.0
    for index, answer in theirs.answers.items():
        for name, expected in answer.items():
            if isinstance(expected, np.ndarray):
                given = ours.answers[index][name]
                same = given.shape == expected.shape
                most = max(most, float(np.abs(given - expected).max()) if same else float("inf"))
    return most
