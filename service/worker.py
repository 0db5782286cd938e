"""Computes batches: one call for all jobs of a batch, one outcome for each, whatever happens."""

import contextlib
import time
import warnings
from collections.abc import Callable, Container
from dataclasses import dataclass, field, replace
from typing import Any

import structlog
import torch

from attnloss.device import resolve_device
from attnloss.errors import FieldError
from service.batcher import Batch
from service.collate import Collated, collate
from service.errors import ComputeFailed, Invalid, ServiceError, TooLarge, path_of
from service.evaluate import tensor_results
from service.job import Job, Outcome
from service.memory import DeviceMemory
from service.results import checked
from service.settings import Settings, available_cores

log = structlog.get_logger()


class ContextLost(Exception):
    """The device's context is lost: nothing can be computed by this process any more."""


@dataclass(frozen=True)
class Situation:
    """What goes on around a batch while it is computed.

    `cancelled` holds jobs nobody waits for any more, and may grow; `between` is called between two forwards of texts
    and may run another batch; `meanwhile` is called while a device computes that does not need this thread for it.
    """

    all_cores: bool = False
    cancelled: Container[bytes] = frozenset()
    between: Callable[[], None] = lambda: None
    meanwhile: Callable[[], None] = lambda: None


@dataclass
class _Failure(Exception):
    """Why a call failed, and whether it was for want of memory."""

    error: ServiceError
    out_of_memory: bool = False


@dataclass
class Worker:
    """Owns one device. `run` answers every job of the batch exactly once, and raises ContextLost alone.

    `on_split` is told why a batch is computed again in parts.
    """

    settings: Settings = field(default_factory=lambda: Settings(device="cpu"))
    on_split: Callable[[str], None] = lambda cause: None

    def __post_init__(self) -> None:
        """Find the device. Raises ValueError if this machine does not have it."""
        self.device = resolve_device(self.settings.device)
        self.memory = DeviceMemory(self.device, self.settings.max_batch_cost)
        self._cores = available_cores()
        self._ahead: tuple[Batch, Batch, Collated] | None = None
        # arrays from the link are read-only views of its frames; nothing here writes to an input
        warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)

    def run(self, batch: Batch, situation: Situation = Situation()) -> list[Outcome]:
        """The outcomes, in the order of the jobs.

        A batch that fails is computed again: by halves if memory ran out, else job by job. A job that has no memory
        alone ends in TooLarge.
        """
        if self.device.type == "cpu":
            threads = self.settings.cpu_threads or (self._cores if situation.all_cores else 1)
            torch.set_num_threads(threads)
        start_s = time.monotonic()
        try:
            results = self._results(batch, situation)
        except _Failure as failure:
            if failure.out_of_memory:
                self.memory.ran_out(batch.cost)
            if len(batch) > 1:
                return self._run_parts(batch, failure, situation)
            job = batch.jobs[0]
            return [Outcome(job.id, error=failure.error.to_wire(), queue_s=start_s - job.arrival_s)]
        compute_s = time.monotonic() - start_s
        self.memory.fitted(batch.jobs[0].group, batch.cost)
        whole = sum(job.cost for job in batch.jobs)
        return [
            Outcome(job.id, result, error, start_s - job.arrival_s, compute_s, compute_s * job.cost / whole)
            for job, (result, error) in zip(batch.jobs, map(checked, results), strict=True)
        ]

    def _run_parts(self, batch: Batch, failure: _Failure, situation: Situation) -> list[Outcome]:
        cause = "memory" if failure.out_of_memory else "failure"
        asked = [job.request_id for job in batch.jobs]
        log.warning("batch split", jobs=len(batch), cost=batch.cost, cause=failure.error.slug, request_ids=asked)
        self.on_split(cause)
        size = (len(batch) + 1) // 2 if failure.out_of_memory else 1
        parts = [Batch.of(batch.jobs[i : i + size]) for i in range(0, len(batch), size)]
        return [outcome for part in parts for outcome in self.run(part, situation)]

    def _results(self, batch: Batch, situation: Situation) -> list[dict[str, Any]]:
        """What each job asked for; the tensors of a failed call are free once this has raised."""
        try:
            if batch.jobs[0].kind == "text":
                return self._text_results(batch, situation)
            return self._tensor_results(batch, situation.meanwhile)
        except ContextLost:  # by tensors between two forwards of a text
            raise
        except Exception as error:
            raised = self._failure(batch.jobs[0], error)
        raise raised

    def _text_results(self, batch: Batch, situation: Situation) -> list[dict[str, Any]]:
        from service.text.run import text_results  # loaded long since, by what tokenised the job

        def pause() -> None:
            threads = torch.get_num_threads()
            with torch.autocast(self.device.type, enabled=False):
                situation.between()
            torch.set_num_threads(threads)

        autocast = self.settings.autocast
        if autocast == "none":
            return text_results(batch.jobs, self.settings.max_batch_tokens, situation.cancelled, pause)
        with torch.autocast(self.device.type, getattr(torch, autocast)):
            results = text_results(batch.jobs, self.settings.max_batch_tokens, situation.cancelled, pause)
        return [result | {"autocast": autocast} for result in results]

    def _tensor_results(self, batch: Batch, meanwhile: Callable[[], None]) -> list[dict[str, Any]]:
        """What tensors give; tests put faults of the device here."""
        ahead, self._ahead = self._ahead, None
        if ahead is None or ahead[0] is not batch:
            ahead = batch, *self._on_the_device(batch)
        _, cast, collated = ahead
        results = tensor_results(cast, collated, meanwhile)
        return results if cast is batch else [result | {"autocast": self.settings.autocast} for result in results]

    def prepare(self, batch: Batch) -> None:
        """Send the tensors of the batch that comes next to the device, which computes another."""
        if batch.jobs[0].kind != "text":
            with contextlib.suppress(Exception):  # the batch's own turn meets it again, and tells it
                self._ahead = (batch, *self._on_the_device(batch))

    def forget_prepared(self) -> None:
        """Give back what was sent ahead: the batch comes no more as it was."""
        self._ahead = None

    def _on_the_device(self, batch: Batch) -> tuple[Batch, Collated]:
        """The batch as it is computed, autocast if that is set, and its tensors."""
        autocast = self.settings.autocast
        if autocast != "none" and batch.jobs[0].options["dtype"] == "float32":
            cast = (replace(job, options=job.options | {"dtype": autocast}) for job in batch.jobs)
            batch = replace(batch, jobs=tuple(cast))
        return batch, collate(batch, self.device)

    def _failure(self, job: Job, error: Exception) -> Exception:
        if isinstance(error, ServiceError):
            return _Failure(error)
        if isinstance(error, FieldError):
            return _Failure(Invalid.field(path_of(error.field, *error.index), str(error)))
        if _is_out_of_memory(error):
            fits = self.memory.fits(job.group, job.cost)
            less = "fewer or shorter texts" if job.kind == "text" else "fewer queries or keys"
            sentence = f"The device has no memory for a job of cost {job.cost}; {fits}: send {less}."
            return _Failure(TooLarge(sentence), out_of_memory=True)
        if _lost_the_context(error):
            log.critical(
                "device context lost", request_id=job.request_id, group=job.group, cost=job.cost, exc_info=error
            )
            return ContextLost(str(error))
        log.error("computation failed", request_id=job.request_id, group=job.group, cost=job.cost, exc_info=error)
        return _Failure(ComputeFailed("The computation failed; the cause is in the server's log."))


def _is_out_of_memory(error: Exception) -> bool:
    told = str(error)
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and ("can't allocate memory" in told or "out of memory" in told)
    )


def _lost_the_context(error: Exception) -> bool:
    return isinstance(error, torch.AcceleratorError) or (isinstance(error, RuntimeError) and "CUDA error" in str(error))
