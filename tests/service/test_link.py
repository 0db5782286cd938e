import asyncio
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq

from service.errors import DeadlinePassed, Invalid, Unavailable
from service.job import Job
from service.link import Link
from service.settings import Settings
from service.validate import attention_job, loss_job
from tests.service.links import OverlappingWorker, SlowWorker, linked, serving

pytestmark = pytest.mark.filterwarnings("ignore:The given NumPy array is not writable")


async def until(condition: Any, within_s: float = 10) -> None:
    end_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end_s, "waited in vain"
        await asyncio.sleep(0.01)


async def ready(link: Link) -> None:
    await until(lambda: link.worker.state == "ready")


def a_job(link: Link, n: int = 4, *, deadline_s: float = 20.0, seed: int = 0) -> Job:
    fields = dict.fromkeys(("query", "key", "value"), np.random.default_rng(seed).normal(size=(n, 4)))
    return attention_job(fields, Settings(deadline_s=deadline_s), link.new_job_id())


def the_weights(job: Job) -> np.ndarray:
    weights = np.exp(job.arrays["query"][0, 0] @ job.arrays["key"][0, 0].T / 2)
    return np.asarray(weights / weights.sum(-1, keepdims=True))


@pytest.mark.parametrize("transport", ["ipc", "inproc"])
def test_every_job_gets_its_own_result(context: zmq.Context[Any], address: str, tmp_path: Path, transport: str) -> None:
    where = address if transport == "ipc" else "inproc://link"

    async def main() -> None:
        async with linked(context, where) as link:
            await ready(link)
            jobs = [a_job(link, n, seed=n) for n in (3, 4, 3, 200, 5)]
            for job, answer in zip(jobs, await asyncio.gather(*map(link.compute, jobs)), strict=True):
                np.testing.assert_allclose(answer["result"]["weights"], the_weights(job), atol=1e-5)
            assert link.owed == 0

    with serving(context, where, tmp_path):
        asyncio.run(main())


def test_the_worker_is_known_by_its_pid_and_device(context: zmq.Context[Any], address: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with linked(context, address) as link:
            assert link.worker.public() == {"pid": None, "device": None, "state": "starting"}
            await ready(link)
            assert link.worker.public() == {"pid": os.getpid(), "device": "cpu", "state": "ready"}

    with serving(context, address, tmp_path):
        asyncio.run(main())


def test_a_job_that_fails_raises_the_error_it_ended_in(context: zmq.Context[Any], address: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with linked(context, address) as link:
            await ready(link)
            fields = {"query": np.ones((2, 4)), "key": np.ones((2, 4)), "probability": np.ones((2, 2))}
            with pytest.raises(Invalid) as caught:
                await link.compute(loss_job(fields, Settings(), link.new_job_id()))
            assert caught.value.errors[0].field == "probability[0]"

    with serving(context, address, tmp_path):
        asyncio.run(main())


@pytest.mark.parametrize("starts_before", [True, False])
def test_a_job_not_answered_by_its_deadline_ends_in_deadline_passed(
    context: zmq.Context[Any], address: str, tmp_path: Path, starts_before: bool
) -> None:
    worker = SlowWorker(held=True)

    async def main() -> None:
        async with linked(context, address) as link:
            await ready(link)
            others = [] if starts_before else [asyncio.create_task(link.compute(a_job(link)))]
            await until(lambda: starts_before or worker.began.is_set())
            late = a_job(link, deadline_s=0.2)
            with pytest.raises(DeadlinePassed):
                await link.compute(late)
            worker.go.set()
            await asyncio.gather(*others)
            await link.compute(a_job(link))
            assert ([late.id] in worker.batches) == starts_before
            assert link.owed == 0

    with serving(context, address, tmp_path, worker):
        asyncio.run(main())


def test_a_cancelled_job_leaves_its_place_and_is_not_computed(
    context: zmq.Context[Any], address: str, tmp_path: Path
) -> None:
    worker = SlowWorker(held=True)

    async def main() -> None:
        async with linked(context, address) as link:
            await ready(link)
            first = asyncio.create_task(link.compute(a_job(link)))
            await until(worker.began.is_set)
            given_up = a_job(link)
            second = asyncio.create_task(link.compute(given_up))
            await asyncio.sleep(0.1)
            second.cancel()
            with pytest.raises(asyncio.CancelledError):
                await second
            await asyncio.sleep(0.1)
            worker.go.set()
            await first
            await link.compute(a_job(link))
            assert given_up.id not in [job_id for batch in worker.batches for job_id in batch]

    with serving(context, address, tmp_path, worker):
        asyncio.run(main())


def test_jobs_that_wait_while_no_worker_is_up_are_answered_by_the_next_one(
    context: zmq.Context[Any], address: str, tmp_path: Path
) -> None:
    async def main() -> None:
        async with linked(context, address) as link:
            with serving(context, address, tmp_path):
                await ready(link)
                await link.compute(a_job(link))
            await until(lambda: link.worker.state == "restarting")
            waiting = [asyncio.create_task(link.compute(a_job(link, n))) for n in (3, 4)]
            await until(lambda: link.owed == 2)
            with serving(context, address, tmp_path):
                answers = await asyncio.gather(*waiting)
                assert [len(answer["result"]["weights"]) for answer in answers] == [3, 4]

    asyncio.run(main())


def test_a_job_sent_twice_is_computed_once_while_it_runs(
    context: zmq.Context[Any], address: str, tmp_path: Path
) -> None:
    worker = SlowWorker(held=True)

    async def main() -> None:
        async with linked(context, address) as link:
            await ready(link)
            job = a_job(link)
            running = asyncio.create_task(link.compute(job))
            await until(worker.began.is_set)
            link._lost("the test says so")
            await ready(link)
            worker.go.set()
            await running
            await link.compute(a_job(link))
            assert sum(job.id in batch for batch in worker.batches) == 1

    with serving(context, address, tmp_path, worker):
        asyncio.run(main())


def test_jobs_still_owed_at_the_end_are_unavailable(context: zmq.Context[Any], address: str, tmp_path: Path) -> None:
    worker = SlowWorker(held=True)

    async def main() -> None:
        async with linked(context, address) as link:
            await ready(link)
            owed = asyncio.create_task(link.compute(a_job(link)))
            await until(worker.began.is_set)
        with pytest.raises(Unavailable, match="shutting down"):
            await owed
        worker.go.set()

    with serving(context, address, tmp_path, worker):
        asyncio.run(main())


def test_a_worker_that_went_away_is_missed_at_once(context: zmq.Context[Any], address: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with linked(context, address) as link:
            with serving(context, address, tmp_path):
                await ready(link)
            await until(lambda: link.worker.state == "restarting", within_s=1)

    asyncio.run(main())


def test_while_a_device_computes_the_next_batch_is_formed_and_loses_what_was_cancelled(
    context: zmq.Context[Any], address: str, tmp_path: Path
) -> None:
    worker = OverlappingWorker()

    async def main() -> None:
        async with linked(context, address) as link:
            await ready(link)
            first = asyncio.create_task(link.compute(a_job(link)))
            await until(worker.computing.is_set)
            jobs = [a_job(link, seed=seed) for seed in range(3)]
            waiting = [asyncio.create_task(link.compute(job)) for job in jobs]
            await asyncio.sleep(0.2)
            worker.form.set()
            await until(worker.formed.is_set)
            waiting[1].cancel()
            await asyncio.sleep(0.5)  # until the attendant has heard of it
            worker.go_on.set()
            await first
            answers = await asyncio.gather(*waiting, return_exceptions=True)
            assert isinstance(answers[1], asyncio.CancelledError)
            for place in (0, 2):
                np.testing.assert_allclose(answers[place]["result"]["weights"], the_weights(jobs[place]), atol=1e-5)
            assert worker.sizes == [1, 2]

    with serving(context, address, tmp_path, worker):
        asyncio.run(main())
