"""Computes batches: one call for all jobs of a batch, one outcome for each, whatever happens."""

import time
import warnings
from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import Any

import structlog
import torch
from torch import Tensor

from attnloss import ranks
from attnloss.attention import functionals
from attnloss.device import resolve_device
from attnloss.errors import FieldError
from attnloss.functional import Functional
from attnloss.loss import Loss, evaluate_losses
from attnloss.losses import build
from attnloss.scores import Scores, make_other, make_scores
from service.batcher import Batch
from service.collate import Collated, collate
from service.errors import ComputeFailed, Invalid, ServiceError, TooLarge, path_of
from service.job import Job, Outcome
from service.results import checked, on_the_host
from service.settings import available_cores

log = structlog.get_logger()

_NOT_STATISTICS = ("loss", "per_query", "grad")


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
            return _results(batch, self.device), None
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


def _in_rank(index: tuple[int, ...], leading: int) -> tuple[int, ...]:
    """A place in rank 4 as one in an array that has 0, 1 (batch) or 2 dimensions before its last ones."""
    if len(index) < 3:
        return index
    return (index[2:], (index[0], *index[2:]), index)[leading]


def _results(batch: Batch, device: torch.device) -> list[dict[str, Any]]:
    """What each job asked for; one pass over the scores for all of it."""
    head = batch.jobs[0]
    collated = collate(batch, device)
    grad = "grad" in head.options["returns"]
    if grad:
        for name in ("query", "key", "value"):
            if name in collated.tensors:
                collated.tensors[name].requires_grad_()
    with torch.set_grad_enabled(grad):
        scores = _scores(collated, head)
        evaluated = _evaluate(scores, collated, head)
        results = [_result(job, part, evaluated, scores) for job, part in zip(batch.jobs, collated.slices, strict=True)]
        if grad:
            sum(result.pop("total") for result in results).backward()
    for job, part, result in zip(batch.jobs, collated.slices, results, strict=True):
        result.pop("total", None)
        if grad:
            result["grad"] = _gradients(job, part, collated)
        result |= {"backend": evaluated.backend, "device": str(device)}
    return [on_the_host(result) for result in results]


@dataclass(frozen=True)
class _Evaluated:
    """Losses with their values, unreduced, and statistics, of a whole batch."""

    losses: list[Loss]
    values: list[Tensor]
    statistics: dict[str, Tensor]
    backend: str


def _scores(collated: Collated, head: Job) -> Scores:
    tensors = collated.tensors
    return make_scores(
        tensors["query"],
        tensors["key"],
        causal=head.options["causal"],
        scale=head.options["scale"],
        mask=tensors.get("mask"),
        query_lengths=tensors.get("query_lengths"),
        key_lengths=tensors.get("key_lengths"),
    )


def _evaluate(scores: Scores, collated: Collated, head: Job) -> _Evaluated:
    options = head.options
    wanted: dict[str, Functional] = functionals(
        scores,
        [name for name in options["returns"] if name not in _NOT_STATISTICS],
        value=collated.tensors.get("value"),
        top_k=options["top_k"],
        queries=_window(options["queries"]),
        keys=_window(options["keys"]),
    )
    made = [_loss(scores, collated, loss, f"losses.{i}") for i, loss in enumerate(options["losses"])]
    values, evaluation = evaluate_losses(scores, {f"losses.{i}": loss for i, loss in enumerate(made)}, wanted)
    return _Evaluated(made, list(values.values()), evaluation.values, evaluation.backend)


def _loss(scores: Scores, collated: Collated, loss: dict[str, Any], prefix: str) -> Loss:
    parameters = {name: collated.tensors[f"{prefix}.{name}"] for name in loss["places"]} | loss["parameters"]
    try:
        if "other_query" in parameters:
            maps = parameters.pop("other_query"), parameters.pop("other_key")
            parameters["other"] = make_other(scores, *maps, parameters.pop("other_scale", None))
        return build(loss["name"], scores, parameters)
    except FieldError as error:
        raise _placed(error, loss) from None


def _window(given: list[int] | None) -> tuple[int, int] | None:
    return None if given is None else (given[0], given[1])


def _placed(error: FieldError, loss: dict[str, Any]) -> FieldError:
    """The error at the field's place in the request, as in `losses[1].target`, index included."""
    if error.field in loss["parameters"]:
        return FieldError(f"{loss['path']}.{error.field}", error.index, str(error))
    if error.field not in loss["places"]:
        return error
    place, leading = loss["places"][error.field]
    sentence = str(error).replace(f"{error.field}{list(error.index)}", "it")  # which names the place in rank 4
    return FieldError(place, _in_rank(error.index, leading), sentence)


def _result(job: Job, part: slice, evaluated: _Evaluated, scores: Scores) -> dict[str, Any]:
    """One job's share of the evaluation, in the job's own shape and rank; `total` is what its gradient is of."""
    result: dict[str, Any] = {name: _own(tensor[part], name, job) for name, tensor in evaluated.statistics.items()}
    if "top_index" in result:
        result["top"] = {"index": result.pop("top_index"), "weight": result.pop("top_weight")}
    if job.kind == "attention":
        return result
    counts = scores.counts.expand(scores.shape[:3])[part, :, : job.n]
    totals, reduced, per_query = [], {}, {}
    for options, loss, values in zip(job.options["losses"], evaluated.losses, evaluated.values, strict=True):
        own = values[part, :, : job.n] if loss.unit == "query" else values[part]
        value = loss.reduce(own, counts, job.m, job.options["reduction"])
        totals.append(options["weight"] * value.sum())
        reduced[options["label"]] = ranks.restore_unit(value, job.options["rank"])
        per_query[options["label"]] = ranks.restore_unit(own, job.options["rank"])
    total = torch.stack(totals).sum()
    result["total"] = total
    if "loss" in job.options["returns"]:
        result |= {"loss": total, "losses": reduced}
    if "per_query" in job.options["returns"]:
        result["per_query"] = per_query
    return result


def _own(tensor: Tensor, name: str, job: Job) -> Tensor:
    """The job's part of a statistic: padding cut off, in the rank of the job."""
    if name == "received":
        tensor = tensor[:, :, : job.m]
    elif name != "weights":
        tensor = tensor[:, :, : job.n]
    elif job.options["queries"] is None or job.options["keys"] is None:
        rows = slice(None) if job.options["queries"] else slice(job.n)
        keys = slice(None) if job.options["keys"] else slice(job.m)
        tensor = tensor[:, :, rows, keys]
    return _restored(tensor, job)


def _restored(tensor: Tensor, job: Job) -> Tensor:
    return ranks.restore(tensor, job.options["rank"])


def _gradients(job: Job, part: slice, collated: Collated) -> dict[str, Tensor]:
    lengths = {"query": job.n, "key": job.m, "value": job.m}
    gradients = {}
    for name in (name for name in lengths if name in job.arrays):
        tensor = collated.tensors[name]
        grad = torch.zeros_like(tensor) if tensor.grad is None else tensor.grad
        gradients[name] = _restored(grad[part, :, : lengths[name]], job)
    return gradients
