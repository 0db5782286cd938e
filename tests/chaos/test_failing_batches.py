"""A job that fails alone fails alone, whatever batch it was in, and memory that is short costs time."""

import json
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.chaos.clients import until
from tests.chaos.faulty_worker import RAISE, WAIT_FOR_GATE
from tests.chaos.figures import record
from tests.chaos.jobs import Prepared, prepared
from tests.chaos.watch import batches_over, gauge
from tests.chaos.wire import Answer, Wire
from tests.serving import Server, assert_problem

pytestmark = pytest.mark.chaos

MOST_JOBS = 16
RECEIVED_WITHIN_S = 0.5
"""The worker reads what was sent at least every quarter of a second while it computes."""


def ask_as_one_batch(server: Server, gate: Path, jobs: list[Prepared]) -> list[Answer]:
    """The answers of jobs that all wait by the time that the worker is free."""

    def ask(job: Prepared) -> Answer:
        with Wire(server.port) as wire:
            return wire.ask(job.request)

    with ThreadPoolExecutor(len(jobs) + 1) as pool:
        first = pool.submit(ask, prepared(0, 5, mark=WAIT_FOR_GATE))
        try:
            until(lambda: gauge(server, "attnloss_admitted_requests") == 1, 10)
            time.sleep(RECEIVED_WITHIN_S)
            others = [pool.submit(ask, job) for job in jobs]
            until(lambda: gauge(server, "attnloss_admitted_requests") == 1 + len(jobs), 10)
            time.sleep(RECEIVED_WITHIN_S)
        finally:
            gate.touch()
        assert first.result().status == 200
        return [other.result() for other in others]


def test_a_job_that_raises_fails_alone_in_a_full_batch(start_faulty: Callable[..., Server], tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    server = start_faulty(chaos_gate=gate, max_batch_jobs=MOST_JOBS)
    jobs = [prepared(seed, 8, mark=RAISE if seed == 5 else None) for seed in range(MOST_JOBS)]
    answers = ask_as_one_batch(server, gate, jobs)
    assert batches_over(server, MOST_JOBS // 2) == 1, "the jobs were no full batch"
    for seed, (job, answer) in enumerate(zip(jobs, answers, strict=True)):
        if seed == 5:
            assert answer.status == 500
        else:
            job.check(answer)
    record("a job that raises in a full batch", batch=MOST_JOBS, failed_with_500=1, right=MOST_JOBS - 1)
    server.is_right()


MEMORY = 1 << 19
FITS, TOO_LARGE = 362, 1024
"""Queries and keys of a job that takes a quarter of that memory, and of one that takes twice as much."""


def test_batches_beyond_the_devices_memory_cost_no_answer(start_faulty: Callable[..., Server], tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    server = start_faulty(chaos_gate=gate, chaos_memory=MEMORY)
    jobs = [prepared(seed, FITS) for seed in range(32)]
    began_s = time.monotonic()
    answers = ask_as_one_batch(server, gate, jobs)
    assert batches_over(server, 4) >= 1, "no batch was over the memory"
    for job, answer in zip(jobs, answers, strict=True):
        job.check(answer)
    record("batches out of memory", jobs=len(jobs), lost_or_wrong=0, seconds=time.monotonic() - began_s)


def test_a_job_beyond_the_devices_memory_is_told_a_cost_that_fits(start_faulty: Callable[..., Server]) -> None:
    server = start_faulty(chaos_memory=MEMORY)
    job = prepared(0, TOO_LARGE)
    answer = server.client.post("/attention", content=job.request.partition(b"\r\n\r\n")[2])
    assert_problem(answer, 413, str(TOO_LARGE**2))
    told = [int(number) for number in re.findall(r"\d+", answer.json()["detail"])]
    fitting = [cost for cost in told if 0 < cost < TOO_LARGE**2]
    assert fitting, answer.json()["detail"]
    n = int(max(fitting) ** 0.5)
    retried = prepared(0, n)
    with Wire(server.port) as wire:
        retried.check(wire.ask(retried.request))
    record("a job out of memory", cost=TOO_LARGE**2, memory=MEMORY, told=json.dumps(told), retried=n * n)
    server.is_right()
