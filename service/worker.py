"""Computes batches: one call for all jobs of a batch, one outcome for each, whatever happens."""

import time
import warnings
from collections.abc import Callable, Container
from typing import Any

import structlog
import torch

from attnloss.device import resolve_device
from attnloss.errors import FieldError
from service.batcher import Batch
from service.errors import ComputeFailed, Invalid, ServiceError, TooLarge, path_of
from service.evaluate import tensor_results
from service.job import Job, Outcome
from service.results import checked
from service.settings import available_cores

log = structlog.get_logger()


class Worker:
    """Owns one device. `run` never raises for a job's sake and answers every job of the batch exactly once."""

    def __init__(self, device: str, cpu_threads: int | None = None, max_batch_tokens: int = 4096) -> None:
        self.device = resolve_device(device)
        self._max_batch_tokens = max_batch_tokens
        self._fixed_threads = cpu_threads
        self._cores = available_cores()
        # arrays from the link are read-only views of its frames; nothing here writes to an input
        warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)

    def run(
        self,
        batch: Batch,
        *,
        all_cores: bool = False,
        cancelled: Container[bytes] = frozenset(),
        between: Callable[[], None] = lambda: None,
    ) -> list[Outcome]:
        """The outcomes, in the order of the jobs. A batch that fails is computed again job by job.

        A batch of texts takes many forwards: `between` is called before each, and may run another batch. Texts that
        are among `cancelled`, which may grow meanwhile, end in DeadlinePassed.
        """
        if self.device.type == "cpu":
            torch.set_num_threads(self._fixed_threads or (self._cores if all_cores else 1))
        start_s = time.monotonic()
        queue_s = [start_s - job.arrival_s for job in batch.jobs]
        results, failure = self._attempt(batch, cancelled, between)
        if failure is not None and len(batch) > 1:
            log.warning("batch split", jobs=len(batch), cause=failure.detail)
            alone = [Batch((job,), job.cost, padded=False) for job in batch.jobs]
            options: dict[str, Any] = {"all_cores": all_cores, "cancelled": cancelled, "between": between}
            return [self.run(each, **options)[0] for each in alone]
        if failure is not None:
            return [Outcome(batch.jobs[0].id, error=failure.to_wire(), queue_s=queue_s[0])]
        compute_s = time.monotonic() - start_s
        return [
            Outcome(job.id, result, error, waited_s, compute_s)
            for job, waited_s, (result, error) in zip(batch.jobs, queue_s, map(checked, results), strict=True)
        ]

    def _attempt(
        self, batch: Batch, cancelled: Container[bytes], between: Callable[[], None]
    ) -> tuple[list[dict[str, Any]], ServiceError | None]:
        """The results, or what went wrong; the tensors of a failed attempt are free when this returns."""

        def pause() -> None:
            threads = torch.get_num_threads()
            between()
            torch.set_num_threads(threads)

        try:
            if batch.jobs[0].kind == "text":
                from service.text.run import text_results  # loaded long since, by what tokenised the job

                return text_results(batch.jobs, self._max_batch_tokens, cancelled, pause), None
            return tensor_results(batch, self.device), None
        except Exception as error:
            return [], _failure(batch.jobs[0], error)


def _failure(job: Job, error: Exception) -> ServiceError:
    if isinstance(error, ServiceError):
        return error
    if isinstance(error, FieldError):
        return Invalid.field(path_of(error.field, *error.index), str(error))
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error):
        return TooLarge(f"The device has no memory for a job of cost {job.cost}; send fewer queries or keys at once.")
    log.error("computation failed", group=job.group, cost=job.cost, exc_info=error)
    return ComputeFailed("The computation failed; the cause is in the server's log.")
