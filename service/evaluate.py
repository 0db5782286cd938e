"""What the jobs of a batch ask for, computed in one pass over the scores, and each job's share of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from attnloss import ranks
from attnloss.attention import functionals
from attnloss.errors import FieldError
from attnloss.functional import Functional
from attnloss.loss import Loss, evaluate_losses
from attnloss.losses import build
from attnloss.scores import Scores, make_other, make_scores
from service.batcher import Batch
from service.collate import Collated, collate
from service.job import Job
from service.results import on_the_host

_NOT_STATISTICS = ("loss", "per_query", "grad")


def tensor_results(
    batch: Batch, device: torch.device, meanwhile: Callable[[], None] = lambda: None
) -> list[dict[str, Any]]:
    """What each job asked for; one pass over the scores for all of it.

    `meanwhile` is called while a device computes that does not need this thread for it.
    """
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
    if device.type != "cpu":
        meanwhile()
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


def _in_rank(index: tuple[int, ...], leading: int) -> tuple[int, ...]:
    """A place in rank 4 as one in an array that has 0, 1 (batch) or 2 dimensions before its last ones."""
    if len(index) < 3:
        return index
    return (index[2:], (index[0], *index[2:]), index)[leading]


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
