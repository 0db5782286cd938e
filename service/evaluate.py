"""What the jobs of a batch ask for, computed in one pass over the scores, and each job's share of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from attnloss.attention import functionals
from attnloss.errors import FieldError
from attnloss.functional import Functional
from attnloss.loss import Loss, evaluate_losses
from attnloss.losses import build
from attnloss.scores import Scores, make_other, make_scores
from service.batcher import Batch
from service.collate import Collated
from service.job import Job
from service.reduction import Reduced, reduce_by_job
from service.results import Computed, cut

_NOT_STATISTICS = ("loss", "per_query", "grad")


def tensor_results(
    batch: Batch, collated: Collated, meanwhile: Callable[[], None] = lambda: None
) -> list[dict[str, Any]]:
    """What each job asked for; one pass over the scores for all of it.

    `meanwhile` is called while a device computes that does not need this thread for it.
    """
    computed = compute(batch, collated)
    if collated.device.type != "cpu":
        meanwhile()
    return cut(batch.jobs, collated.slices, computed)


def compute(batch: Batch, collated: Collated) -> Computed:
    """What the jobs asked for, as tensors of the whole batch on its device."""
    head = batch.jobs[0]
    inputs = {name: tensor for name, tensor in collated.tensors.items() if name in ("query", "key", "value")}
    grad = "grad" in head.options["returns"]
    for tensor in inputs.values() if grad else ():
        tensor.requires_grad_()
    with torch.set_grad_enabled(grad):
        scores = _scores(collated, head)
        evaluated = _evaluate(scores, collated, head)
        losses: list[Reduced] = []
        totals = None
        if head.kind == "loss":
            counts = scores.counts.expand(scores.shape[:3])
            losses, totals = reduce_by_job(batch.jobs, collated.slices, evaluated.losses, evaluated.values, counts)
            if grad:
                torch.autograd.backward(totals.sum())
    gradients = {name: _gradient(tensor) for name, tensor in inputs.items()} if grad else {}
    return Computed(evaluated.statistics, losses, totals, gradients, evaluated.backend, str(collated.device))


def _gradient(tensor: Tensor) -> Tensor:
    return torch.zeros_like(tensor) if tensor.grad is None else tensor.grad


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
