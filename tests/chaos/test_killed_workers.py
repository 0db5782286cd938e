"""A kill -9 of the worker costs time and no answer, but for the job that kills every worker."""

import os
import random
import signal
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.chaos.clients import Clients
from tests.chaos.faulty_worker import KILL, POISON
from tests.chaos.figures import record
from tests.chaos.jobs import mixed, prepared
from tests.chaos.watch import ready_pid, until_idle, until_ready
from tests.chaos.wire import Wire
from tests.serving import Server

pytestmark = pytest.mark.chaos

KILLS = 20
RECOVERED_WITHIN_S = 5.0


def test_a_worker_killed_twenty_times_under_load_loses_no_answer(start_server: Callable[..., Server]) -> None:
    server = start_server()
    draw = random.Random(0)
    recoveries_s = []
    began_s = time.monotonic()
    with Clients(server.port, mixed(), 16) as clients:
        for _ in range(KILLS):
            clients.until_each_has_answers()  # one that is computed alone while two workers die is no answer's loss
            time.sleep(draw.uniform(0.1, 0.5))
            worker = ready_pid(server)
            assert worker is not None
            os.kill(worker, signal.SIGKILL)
            recoveries_s.append(until_ready(server, without=worker))
    record(
        "kill -9 of the worker",
        kills=KILLS,
        requests=sum(clients.answered),
        lost_or_wrong=0,
        recovery_s_median=statistics.median(recoveries_s),
        recovery_s_max=max(recoveries_s),
        seconds=time.monotonic() - began_s,
    )
    assert max(recoveries_s) < RECOVERED_WITHIN_S
    until_idle(server)
    server.is_right()


@pytest.mark.parametrize(("mark", "name"), [(KILL, "kills its worker"), (POISON, "poisons its worker's device")])
def test_a_job_that_ends_every_worker_fails_and_no_other_does(
    start_faulty: Callable[..., Server], mark: float, name: str
) -> None:
    server = start_faulty()
    first = ready_pid(server)
    bad = [prepared(seed, 16, mark=mark).request for seed in range(2)]

    def ask(request: bytes) -> int:
        with Wire(server.port) as wire:
            return wire.ask(request).status

    began_s = time.monotonic()
    with Clients(server.port, mixed(), 8) as clients, ThreadPoolExecutor(len(bad)) as pool:
        clients.until_each_has_answers()
        statuses = list(pool.map(ask, bad))
        until_ready(server, without=first)
        clients.until_each_has_answers()
    record(
        f"a job that {name}, among good ones",
        bad=len(bad),
        failed_with_500=statuses.count(500),
        good=sum(clients.answered),
        lost_or_wrong=0,
        seconds=time.monotonic() - began_s,
    )
    assert statuses == [500] * len(bad)
    assert ready_pid(server) != first
    until_idle(server)
    server.is_right()
