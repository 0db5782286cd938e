"""Losses of a whole batch reduced job by job, in a few operations for all jobs together."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from attnloss.loss import Loss
from service.job import Job


@dataclass(frozen=True)
class Reduced:
    """One loss of a batch.

    `values` are unreduced as they come, `kept` have 0 where nothing may be attended to, and `reduced` is a number for
    each job: its mean, its sum (also where it asks for no reduction), or what the loss reduces to by its own rule.
    """

    values: Tensor
    kept: Tensor
    reduced: Tensor
    own_rule: bool


def reduce_by_job(
    jobs: Sequence[Job], parts: Sequence[slice], losses: Sequence[Loss], values: Sequence[Tensor], counts: Tensor
) -> tuple[list[Reduced], Tensor]:
    """Each loss reduced as each job asks, and the total of each job: Σ weight × loss.

    Args:
        jobs: of the batch.
        parts: their entries along batch.
        losses: one for each loss of a job.
        values: of each loss, unreduced, for the whole batch.
        counts: of keys that each query [batch, heads, n] may attend to; 0 in the padding.

    """
    owners = [number for number, part in enumerate(parts) for _ in range(part.start, part.stop)]
    owner = torch.tensor(owners, device=counts.device) if len(owners) > len(jobs) else None
    means = torch.tensor([job.options["reduction"] == "mean" for job in jobs], device=counts.device)
    reduced, total = [], torch.zeros((), device=counts.device)
    for number, (loss, each) in enumerate(zip(losses, values, strict=True)):
        valid = _valid(loss, counts)
        kept = torch.where(valid, each, 0.0)
        if loss.own_reduction is None:
            sums, units = (_by_job(part, owner, len(jobs)) for part in (kept, valid.expand_as(kept)))
            own = torch.where(means, sums / units.clamp(min=1), sums)
        else:
            own = torch.stack(
                [_by_own_rule(job, part, loss, each, counts) for job, part in zip(jobs, parts, strict=True)]
            )
        weights = torch.tensor([job.options["losses"][number]["weight"] for job in jobs], dtype=torch.float64)
        total = total + weights.to(own) * own
        reduced.append(Reduced(each, kept, own, loss.own_reduction is not None))
    return reduced, total


def _valid(loss: Loss, counts: Tensor) -> Tensor:
    valid = counts > 0
    if loss.unit != "query":
        valid = valid.any(-1)
    return valid.any(-1) if loss.unit == "batch" else valid


def _by_job(units: Tensor, owner: Tensor | None, jobs: int) -> Tensor:
    """Sums over all units of each job's entries."""
    per_entry = units.reshape(len(units), -1).sum(1)
    return per_entry if owner is None else per_entry.new_zeros(jobs).index_add(0, owner, per_entry)


def _by_own_rule(job: Job, part: slice, loss: Loss, values: Tensor, counts: Tensor) -> Tensor:
    own: dict[str, Any] = {"values": values[part], "counts": counts[part, :, : job.n], "keys": job.m}
    if loss.unit == "query":
        own["values"] = own["values"][..., : job.n]
    return loss.reduce(**own, reduction=job.options["reduction"])
