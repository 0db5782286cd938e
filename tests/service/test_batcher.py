from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.batcher import Batch, Batcher, BatchLimits
from service.cost import CostModel
from service.job import Job

EAGER = CostModel(call_s=1.0, element_s=1e-9, padded_element_s=1e-9)
NEVER_PADS = CostModel(call_s=1e-3, element_s=1e-6, padded_element_s=1.0)
NOTHING_FIXED = CostModel(call_s=0.0, element_s=1e-6, padded_element_s=1e-6)
ROOMY = BatchLimits(max_cost=1 << 30, max_jobs=1 << 10)


def a_job(
    number: int, n: int = 4, m: int = 4, *, group: str = "a", alone: bool = False, heads: int = 1, passes: int = 1
) -> Job:
    return Job(
        id=number.to_bytes(16, "big"),
        kind="attention",
        arrays={},
        options={},
        group=group,
        batch=1,
        heads=heads,
        n=n,
        m=m,
        cost=heads * n * m * passes,
        deadline_s=100.0,
        arrival_s=0.0,
        alone=alone,
    )


def a_batcher(jobs: Sequence[Job] = (), limits: BatchLimits = ROOMY, cost_model: CostModel = EAGER) -> Batcher:
    batcher = Batcher(limits, cost_model)
    for job in jobs:
        batcher.put(job)
    return batcher


def taken_from(batcher: Batcher) -> list[Batch]:
    batches = []
    while (batch := batcher.take()) is not None:
        batches.append(batch)
    return batches


def padded_cost(batch: Batch) -> int:
    n, m = max(job.n for job in batch.jobs), max(job.m for job in batch.jobs)
    return sum(job.cost // (job.n * job.m) * n * m for job in batch.jobs)


def seconds(model: CostModel, cost: int, padded: bool) -> float:
    return model.call_s + cost * (model.padded_element_s if padded else model.element_s)


lengths = st.integers(1, 9)
limits = st.builds(BatchLimits, max_cost=st.integers(1, 300), max_jobs=st.integers(1, 6))
cost_models = st.builds(
    lambda call_s, element_s, factor: CostModel(call_s, element_s, element_s * factor),
    st.sampled_from([0.0, 1e-4, 1.0]),
    st.sampled_from([1e-9, 1e-6, 1e-4]),
    st.sampled_from([1.0, 3.0, 100.0]),
)


@st.composite
def queues(draw: st.DrawFn) -> list[Job]:
    count = draw(st.integers(0, 16))
    return [
        a_job(
            number,
            draw(lengths),
            draw(lengths),
            group=draw(st.sampled_from("ab")),
            alone=draw(st.sampled_from([False, False, False, True])),
            heads=draw(st.integers(1, 3)),
            passes=draw(st.sampled_from([1, 3])),
        )
        for number in range(count)
    ]


@given(queues(), limits, cost_models)
def test_every_job_is_taken_exactly_once(jobs: list[Job], limit: BatchLimits, model: CostModel) -> None:
    taken = [job.id for batch in taken_from(a_batcher(jobs, limit, model)) for job in batch.jobs]
    assert sorted(taken) == sorted(job.id for job in jobs)


@given(queues(), limits, cost_models)
def test_a_batch_is_within_the_limits_unless_it_is_a_single_job(
    jobs: list[Job], limit: BatchLimits, model: CostModel
) -> None:
    for batch in taken_from(a_batcher(jobs, limit, model)):
        assert len(batch) == 1 or (batch.cost <= limit.max_cost and len(batch) <= limit.max_jobs)


@given(queues(), limits, cost_models)
def test_the_cost_of_a_batch_counts_its_padding(jobs: list[Job], limit: BatchLimits, model: CostModel) -> None:
    for batch in taken_from(a_batcher(jobs, limit, model)):
        assert batch.cost == padded_cost(batch)


@given(queues(), limits, cost_models)
def test_a_batch_is_padded_exactly_where_its_shapes_differ(
    jobs: list[Job], limit: BatchLimits, model: CostModel
) -> None:
    for batch in taken_from(a_batcher(jobs, limit, model)):
        assert batch.padded == (len({(job.n, job.m) for job in batch.jobs}) > 1)


@given(queues(), limits, cost_models)
def test_jobs_of_one_batch_share_a_group(jobs: list[Job], limit: BatchLimits, model: CostModel) -> None:
    for batch in taken_from(a_batcher(jobs, limit, model)):
        assert len({job.group for job in batch.jobs}) == 1


@given(queues(), limits, cost_models)
def test_a_job_marked_alone_has_no_batch_mates(jobs: list[Job], limit: BatchLimits, model: CostModel) -> None:
    for batch in taken_from(a_batcher(jobs, limit, model)):
        assert len(batch) == 1 or not any(job.alone for job in batch.jobs)


@given(queues(), limits, cost_models)
def test_every_batch_is_headed_by_the_oldest_job_that_waits(
    jobs: list[Job], limit: BatchLimits, model: CostModel
) -> None:
    waiting = [job.id for job in jobs]
    for batch in taken_from(a_batcher(jobs, limit, model)):
        assert batch.jobs[0].id == waiting[0]
        waiting = [job_id for job_id in waiting if job_id not in {job.id for job in batch.jobs}]


@given(queues(), st.lists(queues(), max_size=12), limits, cost_models)
def test_a_job_waits_for_at_most_as_many_batches_as_there_were_jobs_before_it(
    first: list[Job], later: list[list[Job]], limit: BatchLimits, model: CostModel
) -> None:
    batcher = a_batcher([*first, watched := a_job(10_000, 9, 9, group="b")], limit, model)
    for number in range(len(first) + 1):
        batch = batcher.take()
        assert batch is not None
        if watched in batch.jobs:
            return
        for i, job in enumerate(later[number] if number < len(later) else []):
            batcher.put(a_job(20_000 + 100 * number + i, job.n, job.m, group=job.group))
    pytest.fail("the job waited for more batches than there were jobs before it")


@given(queues(), limits, cost_models)
def test_a_batch_is_never_predicted_to_take_longer_than_its_jobs_one_by_one(
    jobs: list[Job], limit: BatchLimits, model: CostModel
) -> None:
    for batch in taken_from(a_batcher(jobs, limit, model)):
        one_by_one_s = sum(seconds(model, job.cost, False) for job in batch.jobs)
        assert seconds(model, batch.cost, batch.padded) <= one_by_one_s * (1 + 1e-9)


def test_jobs_of_one_shape_are_batched_before_ragged_ones() -> None:
    jobs = [a_job(0, 4, 4), a_job(1, 4, 5), a_job(2, 4, 4)]
    batch = a_batcher(jobs, BatchLimits(max_cost=1 << 20, max_jobs=2)).take()
    assert batch == Batch((jobs[0], jobs[2]), 32, padded=False)


def test_ragged_jobs_are_padded_together_where_a_call_costs_more_than_the_padding() -> None:
    jobs = [a_job(0, 4, 4), a_job(1, 5, 3)]
    assert a_batcher(jobs, cost_model=EAGER).take() == Batch(tuple(jobs), 2 * 5 * 4, padded=True)


def test_ragged_jobs_are_computed_apart_where_padding_costs_more_than_a_call() -> None:
    jobs = [a_job(0, 4, 4), a_job(1, 5, 3)]
    assert [len(batch) for batch in taken_from(a_batcher(jobs, cost_model=NEVER_PADS))] == [1, 1]


def test_a_job_that_does_not_pay_does_not_keep_the_next_one_out() -> None:
    jobs = [a_job(0, 4, 4), a_job(1, 400, 400), a_job(2, 4, 4)]
    batcher = a_batcher(jobs, cost_model=NOTHING_FIXED)
    assert [[job.n for job in batch.jobs] for batch in taken_from(batcher)] == [[4, 4], [400]]


def test_jobs_are_parted_by_size_where_the_padding_saved_is_worth_another_call() -> None:
    jobs = [a_job(number, n, n) for number, n in enumerate([8, 62, 9, 64, 8, 63])]
    dear, cheap = CostModel(1e-3, 1e-6, 1.1e-6), CostModel(1.0, 1e-6, 1.1e-6)
    assert [[job.n for job in batch.jobs] for batch in taken_from(a_batcher(jobs, cost_model=dear))] == [
        [8, 8, 9],
        [62, 63, 64],
    ]
    assert [len(batch) for batch in taken_from(a_batcher(jobs, cost_model=cheap))] == [6]


def test_where_not_all_have_room_those_closest_in_size_to_the_oldest_go_with_it() -> None:
    jobs = [a_job(number, n, n) for number, n in enumerate([16, 32, 4, 15, 16])]
    batch = a_batcher(jobs, BatchLimits(max_cost=1 << 20, max_jobs=3)).take()
    assert batch is not None
    assert [job.n for job in batch.jobs] == [16, 16, 15]


def test_what_a_job_costs_in_any_call_does_not_speak_for_batching() -> None:
    jobs = [a_job(0, 4, 4), a_job(1, 5, 3)]
    model = CostModel(call_s=0.0, element_s=1e-6, padded_element_s=2e-6, job_s=1.0)
    assert [len(batch) for batch in taken_from(a_batcher(jobs, cost_model=model))] == [1, 1]


def test_texts_are_packed_in_order_of_arrival_without_padding() -> None:
    jobs = [replace(a_job(number, n, n), kind="text") for number, n in enumerate([9, 3, 200, 5])]
    assert a_batcher(jobs).take() == Batch(tuple(jobs), sum(job.cost for job in jobs), padded=False)


def test_a_job_over_the_limit_runs_as_a_batch_of_one() -> None:
    batch = a_batcher([a_job(0, 100, 100), a_job(1)], BatchLimits(max_cost=50, max_jobs=8)).take()
    assert batch is not None
    assert (len(batch), batch.cost) == (1, 10_000)


def test_a_batcher_without_jobs_gives_no_batch() -> None:
    assert a_batcher().take() is None


def test_a_job_put_twice_is_taken_once_in_its_first_place() -> None:
    batcher = a_batcher([a_job(0, group="a"), a_job(1, group="b"), a_job(0, group="a")])
    assert [batch.jobs[0].group for batch in taken_from(batcher)] == ["a", "b"]


def test_a_job_whose_deadline_is_now_has_expired() -> None:
    batcher = a_batcher([a_job(0), a_job(1)])
    assert batcher.expire(99.9) == []
    assert [job.id[-1] for job in batcher.expire(100.0)] == [0, 1]
    assert len(batcher) == 0


def test_a_removed_job_is_not_taken() -> None:
    batcher = a_batcher([a_job(0), a_job(1)])
    assert batcher.remove(a_job(0).id)
    assert not batcher.remove(a_job(0).id)
    assert [job.id[-1] for batch in taken_from(batcher) for job in batch.jobs] == [1]
