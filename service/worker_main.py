"""The worker process: `python -m service.worker_main`, briefed on standard input by its supervisor.

It ignores SIGINT and SIGTERM, which a terminal sends to the whole group: it ends when its standard input does, after
the jobs that wait, and stays for API processes that have more if their common parent was killed.
"""

import contextlib
import gc
import os
import signal
import sys
import threading
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import orjson
import structlog
import zmq

from service.announcement import Announcement
from service.batcher import Batch, Batcher, BatchLimits
from service.cost import CostModel, measure
from service.job import Job
from service.logs import configure_logs
from service.metrics.worker import WorkerMetrics
from service.pulse import Pulse
from service.rundir import RunDirectory, WorkerFiles
from service.settings import Settings
from service.supervisor import END
from service.text.desk import Desk
from service.traces import traces_of
from service.worker import ContextLost, Worker
from service.worker_loop import WorkerLoop

CONTEXT_LOST_STATUS = 70
"""Exit status of a worker whose device is of no more use to it."""

log = structlog.get_logger()

_HEADS = 4
_LOOK_EVERY_S = 0.1


def main(worker_type: type[Worker] = Worker) -> None:
    """Serve until standard input ends; status 1 and the reason in a file if the worker cannot start."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    brief = orjson.loads(sys.stdin.buffer.readline())
    settings = Settings.model_validate(brief["settings"])
    configure_logs(settings.log_level, settings.log_format)
    directory = RunDirectory.work_in(Path(brief["directory"]))
    files = directory.worker(brief["index"])
    try:
        status = _serve(worker_type, settings, directory, files)
    except Exception as error:
        log.critical("worker failed", device=settings.device, exc_info=error)
        files.failure.write_text(f"{type(error).__name__}: {error}")
        status = 1
    directory.forget_gauges(os.getpid())
    directory.close()
    sys.stdout.flush()
    os._exit(status)  # a model that still loads, or a device whose context is lost, would abort on the way out


def _serve(worker_type: type[Worker], settings: Settings, directory: RunDirectory, files: WorkerFiles) -> int:
    """Prepare and serve; the exit status."""
    worker = worker_type(settings)
    cost_model = warm_up(worker, files.cost_model)
    batcher = Batcher(BatchLimits(worker.memory.max_batch_cost, settings.max_batch_jobs), cost_model)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    desk = Desk(settings, worker.device)
    announcement = Announcement(files.announced, 2 * settings.max_batch_jobs)  # texts, and tensors between
    pulse = Pulse(files.pulse)
    traces = traces_of(settings)
    loop = WorkerLoop(worker, batcher, context, files.address, announcement, pulse, WorkerMetrics(), desk, traces)
    threading.Thread(target=_end_with_stdin, args=(loop, directory, settings.drain_s), daemon=True).start()
    directory.up(os.getpid()).touch()
    for of_the_past in (files.gave_up, files.failure):
        of_the_past.unlink(missing_ok=True)
    log.info("worker ready", device=str(worker.device), pid=os.getpid(), cost_model=str(cost_model))
    gc.freeze()  # what was imported stays: the collector need not look at it again
    gc.set_threshold(10_000, 20, 20)
    try:
        loop.run()
    except ContextLost:
        return CONTEXT_LOST_STATUS
    if traces is not None:
        traces.close()
    context.term()
    return 0


def _end_with_stdin(loop: WorkerLoop, directory: RunDirectory, drain_s: float) -> None:
    """End the loop when told to; if the parent was killed, once the API processes that it leaves have finished."""
    told = b""
    while part := os.read(sys.stdin.fileno(), 4096):
        told = (told + part)[-len(END) :]
    end_s = time.monotonic() + drain_s
    while told != END and time.monotonic() < end_s and not (directory.lock("members") or directory.is_held("owner")):
        time.sleep(_LOOK_EVERY_S)
    loop.end(drain_s)


def warm_up(worker: Worker, kept: Path) -> CostModel:
    """Run real forwards and a backward on the device, and measure what batching costs there.

    What was measured is kept in a file for the workers that replace this one.

    Raises:
        RuntimeError: the device does not compute.

    """
    _forward(worker, 256, 1, padded=False, kind="loss")
    _forward(worker, 256, 1, padded=False)
    with contextlib.suppress(OSError, ValueError, TypeError):
        return CostModel(**orjson.loads(kept.read_bytes()))

    _forward(worker, 1 << 12, 2, padded=True)
    cost_model = measure(partial(_forward, worker), small=1 << 10, large=1 << 18)
    kept.write_bytes(orjson.dumps(asdict(cost_model)))
    return cost_model


def _forward(
    worker: Worker, cost: int, jobs: int, padded: bool, kind: Literal["attention", "loss"] = "attention"
) -> None:
    side = max(round((cost / jobs / _HEADS) ** 0.5), 2)
    sides = [side - (padded and number % 2) for number in range(jobs)]
    batch = Batch(tuple(_synthetic_job(n, kind) for n in sides), jobs * _HEADS * side * side, padded)
    for outcome in worker.run(batch):
        if outcome.error is not None:
            raise RuntimeError(f"a first forward on {worker.device} failed: {outcome.error}")


def _synthetic_job(n: int, kind: Literal["attention", "loss"]) -> Job:
    """A job of 4 heads, n × n, d = 32, of the kinds that are served most."""
    values = np.random.default_rng(0).standard_normal((1, _HEADS, n, 32), np.float32)
    arrays = {"query": values, "key": values, "value": values}
    entropy = {"name": "entropy", "label": "entropy", "weight": 1.0, "places": {}, "parameters": {}}
    of_loss = {"returns": ["loss", "grad"], "losses": [entropy], "reduction": "mean"}
    options = {"rank": 4, "dtype": "float32", "causal": False, "scale": None, "top_k": None, "queries": None}
    options |= {"keys": None, "returns": ["output", "weights", "entropy"], "losses": [], "reduction": None}
    options |= of_loss if kind == "loss" else {}
    return Job(b"warm up", kind, arrays, options, "", 1, _HEADS, n, n, _HEADS * n * n, float("inf"), 0.0)


if __name__ == "__main__":
    main()
