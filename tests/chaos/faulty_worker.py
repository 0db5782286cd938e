"""A worker whose device misbehaves, on a mark in the first number of a query: `python -m tests.chaos.faulty_worker`.

Jobs of a batch share their options, so that a bad one among good ones can only be told by its data.
"""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from service import worker_main
from service.batcher import Batch
from service.worker import Worker

# Exact in float32, and nothing that a test draws.
KILL = 9001.5
RAISE = 9002.5
HANG = 9003.5
POISON = 9004.5
WAIT_FOR_GATE = 9005.5

GATE = "ATTNLOSS_CHAOS_GATE"
"""Names the variable that names the file whose existence lets a batch with WAIT_FOR_GATE go on."""

MEMORY = "ATTNLOSS_CHAOS_MEMORY"
"""Names the variable that says the cost of the largest batch for which the device has memory."""

_HANG_S = 600.0
_GATE_POLL_S = 0.01


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _raise() -> None:
    raise RuntimeError("the computation was told to fail")


def _poison() -> None:
    raise RuntimeError("CUDA error: device-side assert triggered")


def _wait_for_gate() -> None:
    gate = Path(os.environ[GATE])
    while not gate.exists():
        time.sleep(_GATE_POLL_S)


FAULTS: dict[float, Callable[[], None]] = {
    KILL: _kill,
    RAISE: _raise,
    HANG: lambda: time.sleep(_HANG_S),
    POISON: _poison,
    WAIT_FOR_GATE: _wait_for_gate,
}


class FaultyWorker(Worker):
    """Computes rightly what has no mark and fits the memory."""

    def _tensor_results(self, batch: Batch, meanwhile: Callable[[], None]) -> list[dict[str, Any]]:
        for job in batch.jobs:
            fault = FAULTS.get(float(job.arrays["query"][0, 0, 0, 0]))
            if fault is not None:
                fault()
        memory = os.environ.get(MEMORY)
        if memory is not None and batch.cost > int(memory):
            raise torch.OutOfMemoryError("the device was told to have no more memory")
        return super()._tensor_results(batch, meanwhile)


def main() -> None:
    """Serve as `service.worker_main` does."""
    worker_main.main(FaultyWorker)


if __name__ == "__main__":
    main()
