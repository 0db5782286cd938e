"""A real worker in a thread, and the API's end of a link to it."""

import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import zmq

from service.announcement import Announcement
from service.batcher import Batch, Batcher, BatchLimits
from service.cost import CostModel
from service.job import Outcome
from service.link import Link
from service.metrics.worker import WorkerMetrics
from service.pulse import Pulse
from service.settings import Settings
from service.text.desk import Desk
from service.worker import Situation, Worker
from service.worker_loop import WorkerLoop


class SlowWorker(Worker):
    """A worker that holds every batch until it is let go, and remembers what it computed."""

    def __init__(self, *, held: bool = False) -> None:
        super().__init__()
        self.go = threading.Event()
        if not held:
            self.go.set()
        self.began = threading.Event()
        self.batches: list[list[bytes]] = []

    def run(self, batch: Batch, *situation: Situation) -> list[Outcome]:
        self.batches.append([job.id for job in batch.jobs])
        self.began.set()
        assert self.go.wait(20)
        return super().run(batch, *situation)


class OverlappingWorker(Worker):
    """A worker whose device computes the first batch by itself until it is told to go on."""

    def __init__(self) -> None:
        super().__init__()
        self.computing, self.form, self.formed, self.go_on = (threading.Event() for _ in range(4))
        self.sizes: list[int] = []

    def _tensor_results(self, batch: Batch, meanwhile: Callable[[], None]) -> list[dict[str, Any]]:
        self.sizes.append(len(batch))
        if not self.computing.is_set():
            self.computing.set()
            assert self.form.wait(20)
            meanwhile()
            self.formed.set()
            assert self.go_on.wait(20)
        return super()._tensor_results(batch, meanwhile)


@contextlib.contextmanager
def serving(
    context: zmq.Context[Any], address: str, tmp_path: Path, worker: Worker | None = None
) -> Iterator[WorkerLoop]:
    announcement = Announcement(tmp_path / "announced", 64)
    batcher = Batcher(BatchLimits(1 << 24, 64), CostModel(call_s=3e-4, element_s=2e-9, padded_element_s=6e-9))
    desk = Desk(Settings(models=""), torch.device("cpu"))
    shared = announcement, Pulse(tmp_path / "pulse"), WorkerMetrics()
    loop = WorkerLoop(worker or SlowWorker(), batcher, context, address, *shared, desk)
    (thread := threading.Thread(target=loop.run)).start()
    try:
        yield loop
    finally:
        loop.end(5)
        thread.join(20)
        assert not thread.is_alive()


@contextlib.asynccontextmanager
async def linked(context: zmq.Context[Any], address: str, why: str | None = None) -> AsyncIterator[Link]:
    """The API's end; `why` is what it is told of a worker that nobody starts any more."""
    link = Link(context, address, lambda: why)
    link.start()
    try:
        yield link
    finally:
        await link.close()
