"""All jobs of a batch reduced at once, against the library's own reduction of each job's part."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from attnloss.loss import Loss, mean_over_allowed
from service.job import Job
from service.reduction import reduce_by_job

HEADS = 2


def a_job(batch: int, n: int, reduction: str, weight: float) -> Job:
    options = {"reduction": reduction, "losses": [{"weight": weight}]}
    return Job(b"", "loss", {}, options, "", batch, HEADS, n, n, batch * HEADS * n * n, 0.0, 0.0)


jobs_of_a_batch = st.lists(
    st.builds(
        a_job,
        batch=st.integers(1, 3),
        n=st.integers(1, 5),
        reduction=st.sampled_from(["mean", "sum", "none"]),
        weight=st.sampled_from([1.0, -0.5, 2.0]),
    ),
    min_size=1,
    max_size=5,
)


@given(jobs_of_a_batch, st.sampled_from(["query", "head", "batch"]), st.booleans(), st.integers(0, 999))
def test_a_loss_reduced_in_a_batch_is_the_loss_reduced_by_job(
    jobs: list[Job], unit: Any, own_rule: bool, seed: int
) -> None:
    draw = torch.Generator().manual_seed(seed)
    entries, longest = sum(job.batch for job in jobs), max(job.n for job in jobs)
    loss = Loss({}, lambda parts: parts[""], unit, mean_over_allowed if own_rule and unit == "query" else None)
    shape = (entries, HEADS, longest)[: {"query": 3, "head": 2, "batch": 1}[unit]]
    values = torch.randn(shape, generator=draw, dtype=torch.float64)
    counts = torch.randint(0, 3, (entries, HEADS, longest), generator=draw)
    parts, start = [], 0
    for job in jobs:
        parts.append(slice(start, start + job.batch))
        counts[parts[-1], :, job.n :] = 0
        start += job.batch
    ((reduced,), total) = reduce_by_job(jobs, parts, [loss], [values], counts)
    for number, (job, part) in enumerate(zip(jobs, parts, strict=True)):
        own = values[part, :, : job.n] if unit == "query" else values[part]
        expected = loss.reduce(own, counts[part, :, : job.n], job.m, job.options["reduction"])
        weight = job.options["losses"][0]["weight"]
        assert float(total[number]) == pytest.approx(weight * float(expected.sum()))
        if expected.ndim:
            kept = reduced.kept[part, :, : job.n] if unit == "query" else reduced.kept[part]
            torch.testing.assert_close(kept, expected)
        else:
            assert float(reduced.reduced[number]) == pytest.approx(float(expected))
