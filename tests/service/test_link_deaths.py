"""What the link does about workers that die over a job, told by a scripted worker that speaks the link's messages."""

import asyncio
import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import zmq

from service.announcement import Announcement
from service.errors import ComputeFailed, Unavailable
from service.job import Job, Outcome
from service.link import Link
from service.messages import CANCEL, HELLO, JOB, STATE, job_from, outcome_frames
from tests.service.links import linked


class ScriptedWorker:
    """Answers hello, collects jobs, and says of its predecessor what the test tells it to."""

    def __init__(self, context: zmq.Context[Any], address: str, suspects: tuple[bytes, ...] = ()) -> None:
        self.jobs: list[Job] = []
        self.cancelled: list[bytes] = []
        self.answers = True
        self._state = {"pid": 1, "device": "cpu", "incarnation": os.urandom(8).hex(), "models": []}
        self._state |= {"suspects": [job_id.hex() for job_id in suspects]}
        self._state |= {"cost_model": {"call_s": 1e-3, "element_s": 1e-9, "padded_element_s": 2e-9}}
        self._router = context.socket(zmq.ROUTER)
        self._router.set(zmq.ROUTER_HANDOVER, 1)
        self._router.bind(address)
        self._dead = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def die(self) -> None:
        self._dead.set()
        self._thread.join()

    def _serve(self) -> None:
        while not self._dead.is_set():
            if not self._router.poll(10):
                continue
            sender, *frames = self._router.recv_multipart(copy=False)
            kind = frames[0].bytes
            if kind == HELLO:
                self._router.send_multipart([sender, STATE, orjson.dumps(self._state)])
            elif kind == CANCEL:
                self.cancelled.append(frames[1].bytes)
            elif kind == JOB:
                job = job_from(frames)
                self.jobs.append(job)
                if self.answers:
                    outcome = Outcome(job.id, {"n": job.n, "alone": job.alone})
                    self._router.send_multipart([sender, *outcome_frames(outcome)])
        self._router.close(0)


@contextlib.contextmanager
def worker(
    context: zmq.Context[Any], address: str, suspects: tuple[bytes, ...] = (), *, answers: bool = False
) -> Iterator[ScriptedWorker]:
    scripted = ScriptedWorker(context, address, suspects)
    scripted.answers = answers
    try:
        yield scripted
    finally:
        scripted.die()


async def until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


def a_job(link: Link) -> Job:
    now = asyncio.get_running_loop().time()
    arrays = {"query": np.ones((1, 1, 2, 2), np.float32)}
    return Job(link.new_job_id(), "attention", arrays, {}, "g", 1, 1, 2, 2, 4, now + 20, now)


def test_suspects_of_a_dead_worker_run_alone_and_the_others_as_before(context: zmq.Context[Any], address: str) -> None:
    async def main() -> None:
        async with linked(context, address) as link:
            with worker(context, address) as first:
                await until(lambda: link.worker.state == "ready")
                jobs = [a_job(link) for _ in range(3)]
                waiting = [asyncio.create_task(link.compute(job)) for job in jobs]
                await until(lambda: len(first.jobs) == 3)
                assert not any(job.alone for job in first.jobs)
            with worker(context, address, (jobs[0].id, jobs[2].id), answers=True):
                answers = await asyncio.gather(*waiting)
            assert [answer["result"]["alone"] for answer in answers] == [True, False, True]

    asyncio.run(main())


def test_a_job_that_was_alone_at_its_second_death_has_failed(context: zmq.Context[Any], address: str) -> None:
    async def main() -> None:
        async with linked(context, address) as link:
            suspects: tuple[bytes, ...] = ()
            waiting = None
            for _ in range(2):
                with worker(context, address, suspects) as dying:
                    await until(lambda: link.worker.state == "ready")
                    if waiting is None:
                        job = a_job(link)
                        waiting = [asyncio.create_task(link.compute(each)) for each in (job, a_job(link))]
                    await until(lambda seen=dying.jobs: len(seen) == 2)
                suspects = (job.id,)
                await until(lambda: link.worker.state == "restarting")
            with worker(context, address, suspects, answers=True) as last:
                assert waiting is not None
                bad, good = await asyncio.gather(*waiting, return_exceptions=True)
            assert isinstance(bad, ComputeFailed)
            assert isinstance(good, dict)
            assert job.id not in [each.id for each in last.jobs], "it would end a third worker"
            assert link.owed == 0

    asyncio.run(main())


def test_a_job_that_only_waits_survives_any_number_of_deaths(context: zmq.Context[Any], address: str) -> None:
    async def main() -> None:
        async with linked(context, address) as link:
            waiting = None
            for _ in range(4):
                with worker(context, address) as dying:
                    await until(lambda: link.worker.state == "ready")
                    waiting = waiting or asyncio.create_task(link.compute(a_job(link)))
                    await until(lambda seen=dying.jobs: len(seen) == 1)
                await until(lambda: link.worker.state == "restarting")
            with worker(context, address, answers=True):
                assert waiting is not None
                assert (await waiting)["result"]["alone"] is False

    asyncio.run(main())


def test_a_first_worker_with_suspects_of_others_blames_no_job(context: zmq.Context[Any], address: str) -> None:
    async def main() -> None:
        async with linked(context, address) as link:
            with worker(context, address, (b"s" * 16,), answers=True):
                await until(lambda: link.worker.state == "ready")
                assert (await link.compute(a_job(link)))["result"]["alone"] is False

    asyncio.run(main())


def test_the_worker_is_told_of_a_cancelled_job(context: zmq.Context[Any], address: str) -> None:
    async def main() -> None:
        async with linked(context, address) as link:
            with worker(context, address) as scripted:
                await until(lambda: link.worker.state == "ready")
                job = a_job(link)
                waiting = asyncio.create_task(link.compute(job))
                await until(lambda: scripted.jobs)
                waiting.cancel()
                await until(lambda: scripted.cancelled)
                assert scripted.cancelled == [job.id]

    asyncio.run(main())


def test_announced_ids_outlive_the_process_that_wrote_them(tmp_path: Path) -> None:
    def job(number: int) -> Job:
        return Job(bytes([number]) * 16, "loss", {}, {}, "g", 1, 1, 1, 1, 1, 0.0, 0.0)

    writer = Announcement(tmp_path / "announced", 3)
    writer.write([job(1), job(2), job(3)])
    writer.write([job(4), job(5)])
    reader = Announcement(tmp_path / "announced", 3)
    assert reader.read() == [bytes([4]) * 16, bytes([5]) * 16]
    writer.write(())
    assert reader.read() == []
    writer.close()
    reader.close()


def test_a_job_is_unavailable_before_a_worker_was_ever_up(context: zmq.Context[Any], address: str) -> None:
    async def main() -> None:
        async with linked(context, address) as link:
            with pytest.raises(Unavailable, match="starting"):
                await link.compute(a_job(link))
            assert link.owed == 0

    asyncio.run(main())


def test_a_job_is_unavailable_with_the_reason_once_no_worker_comes_up(context: zmq.Context[Any], address: str) -> None:
    async def main() -> None:
        async with linked(context, address, why="It ended 3 times.") as link:
            await until(lambda: link.worker.state == "failed")
            with pytest.raises(Unavailable, match="It ended 3 times"):
                await link.compute(a_job(link))

    asyncio.run(main())
