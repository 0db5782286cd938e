import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq

from service.admission import Admission
from service.dispatch import Dispatch
from service.errors import Overloaded, Unavailable
from service.job import Job
from service.ledger import Ledger
from service.link import Link
from service.pulse import Pulse
from service.settings import Settings
from service.validate import attention_job
from tests.service.links import SlowWorker, serving

pytestmark = pytest.mark.filterwarnings("ignore:The given NumPy array is not writable")


@contextlib.asynccontextmanager
async def dispatching(
    context: zmq.Context[Any], tmp_path: Path, why: tuple[str | None, ...] = (None, None)
) -> AsyncIterator[tuple[Dispatch, Ledger, Admission]]:
    identity, ledger = b"12345678", Ledger(workers=len(why))
    links = [
        Link(context, f"ipc://{tmp_path}/link-{i}", lambda reason=reason: reason, identity)
        for i, reason in enumerate(why)
    ]
    pulses = [Pulse(tmp_path / f"pulse-of-{i}") for i in range(len(why))]
    dispatch = Dispatch(links, pulses, ledger)
    dispatch.start()
    try:
        yield dispatch, ledger, Admission(ledger, 100, 1 << 30, dispatch.wait_s)
    finally:
        await dispatch.close()


async def until(condition: Any) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


def a_job(dispatch: Dispatch, n: int = 4) -> Job:
    fields = dict.fromkeys(("query", "key", "value"), np.ones((n, 4)))
    return attention_job(fields, Settings(deadline_s=20), dispatch.new_job_id())


def compute(dispatch: Dispatch, admission: Admission, job: Job) -> "asyncio.Task[dict[str, Any]]":
    return asyncio.create_task(dispatch.compute(job, admission.reserve(0)))


def test_the_worker_with_least_before_it_gets_the_job(context: zmq.Context[Any], tmp_path: Path) -> None:
    slow, idle = SlowWorker(held=True), SlowWorker()

    async def main() -> None:
        async with dispatching(context, tmp_path) as (dispatch, ledger, admission):
            await until(lambda: all(link.worker.state == "ready" for link in dispatch.links))
            for link in dispatch.links:  # each knows what a job takes
                link.forecast.learn(a_job(dispatch), 1.0)
            first = compute(dispatch, admission, a_job(dispatch))
            await until(slow.began.is_set)
            assert ledger.seconds(0) == pytest.approx(1.0)
            await asyncio.gather(*(compute(dispatch, admission, a_job(dispatch)) for _ in range(1)))
            assert len(idle.batches) == 1
            slow.go.set()
            await first
            assert (ledger.seconds(0), ledger.seconds(1)) == (0, 0)

    with serving(context, f"ipc://{tmp_path}/link-0", tmp_path, slow):
        (tmp_path / "b").mkdir()
        with serving(context, f"ipc://{tmp_path}/link-1", tmp_path / "b", idle):
            asyncio.run(main())


def test_a_job_that_would_be_late_is_refused_at_once_and_told_when_to_come_again(
    context: zmq.Context[Any], tmp_path: Path
) -> None:
    slow = SlowWorker(held=True)

    async def main() -> None:
        async with dispatching(context, tmp_path, (None,)) as (dispatch, _, admission):
            await until(lambda: dispatch.ready)
            dispatch.links[0].forecast.learn(a_job(dispatch), 15.0)
            first = compute(dispatch, admission, a_job(dispatch))
            await until(slow.began.is_set)
            with pytest.raises(Overloaded, match="its deadline is") as refused:
                await dispatch.compute(a_job(dispatch), admission.reserve(0))
            assert refused.value.retry_after_s == pytest.approx(30 - 20, abs=1)
            slow.go.set()
            await first

    with serving(context, f"ipc://{tmp_path}/link-0", tmp_path, slow):
        asyncio.run(main())


def test_a_job_goes_to_another_worker_when_none_comes_up_for_the_first(
    context: zmq.Context[Any], tmp_path: Path
) -> None:
    async def main() -> None:
        async with dispatching(context, tmp_path, ("It ended 3 times.", None)) as (dispatch, _, admission):
            await until(lambda: dispatch.ready and dispatch.links[0].worker.state == "failed")
            answer = await compute(dispatch, admission, a_job(dispatch))
            assert answer["result"]["output"].shape == (4, 4)

    with serving(context, f"ipc://{tmp_path}/link-1", tmp_path):
        asyncio.run(main())


def test_without_any_worker_the_reason_is_told(context: zmq.Context[Any], tmp_path: Path) -> None:
    async def main() -> None:
        async with dispatching(context, tmp_path, ("It ended 3 times.",)) as (dispatch, _, admission):
            with pytest.raises(Unavailable, match="starting"):
                dispatch.check()
            await until(lambda: dispatch.links[0].worker.state == "failed")
            with pytest.raises(Unavailable, match="It ended 3 times"):
                await dispatch.compute(a_job(dispatch), admission.reserve(0))

    asyncio.run(main())


def test_of_a_models_states_at_several_workers_the_best_is_told(context: zmq.Context[Any], tmp_path: Path) -> None:
    async def main() -> None:
        async with dispatching(context, tmp_path) as (dispatch, _, _):
            dispatch.links[0].worker.models = [{"name": "m", "state": "ready"}, {"name": "n", "state": "loading"}]
            dispatch.links[1].worker.models = [{"name": "m", "state": "loading"}, {"name": "n", "state": "failed"}]
            assert {name: entry["state"] for name, entry in dispatch.models.items()} == {"m": "ready", "n": "failed"}

    asyncio.run(main())
