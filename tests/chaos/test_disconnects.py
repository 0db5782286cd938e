"""Two thousand clients that go away at random moments leave nothing behind."""

import contextlib
import json
import os
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.chaos.clients import Clients, until
from tests.chaos.figures import record
from tests.chaos.jobs import encoded, prepared, tensors
from tests.chaos.rude import RUDE
from tests.chaos.watch import gauge, held, until_idle
from tests.chaos.wire import Wire, request_bytes
from tests.serving import Server

pytestmark = pytest.mark.chaos

Held = dict[int, tuple[int, int]]
AT_ONCE = 24
WARM_UP = 200
"""Clients after which the server holds what it makes once and keeps: threads for slow work, files of metrics."""

IDLE_CONNECTIONS = 4
"""Of the test's own client, which keeps some open."""

POOL_THREADS = 4 + (os.cpu_count() or 1)
"""asyncio's threads for what must not block the loop; made when first needed, and kept."""


def exceeding(before: Held, now: Held) -> Held:
    """The processes that hold more than before, but for what comes and goes."""
    return {
        pid: (descriptors, threads)
        for pid, (descriptors, threads) in now.items()
        if descriptors > before[pid][0] + IDLE_CONNECTIONS or threads > before[pid][1] + POOL_THREADS
    }


def play(server: Server, acts: list[Callable[[int, random.Random], None]]) -> None:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for done in [pool.submit(act, server.port, random.Random(seed)) for seed, act in enumerate(acts)]:
            done.result()


def test_two_thousand_clients_that_go_away_leave_nothing_behind(start_server: Callable[..., Server]) -> None:
    server = start_server(body_timeout_s=1)
    acts = [act for act, count in RUDE.values() for _ in range(count)]
    random.Random(0).shuffle(acts)
    play(server, acts[:WARM_UP])
    until_idle(server)
    server.is_right()
    before = held(server)
    began_s = time.monotonic()
    play(server, acts)
    took_s = time.monotonic() - began_s
    idle_s = until_idle(server)

    assert held(server).keys() == before.keys(), "a process died"
    with contextlib.suppress(AssertionError):  # the comparison below says more
        until(lambda: exceeding(before, held(server)) == {}, 10)
    after = held(server)
    assert exceeding(before, after) == {}, before
    record(
        "clients that go away",
        clients=len(acts),
        seconds=took_s,
        idle_after_s=idle_s,
        descriptors_more=sum(after[pid][0] - before[pid][0] for pid in before),
        threads_more=sum(after[pid][1] - before[pid][1] for pid in before),
    )
    with Clients(server.port, [prepared(1, 16)], 4) as clients:
        clients.until_each_has_answers(5)
    assert "Traceback" not in server.log.read_text()


LONG, LONGER = 24_000, 32_000
"""Queries and keys of jobs that take long enough for a client to leave meanwhile: half a second, and more."""


def test_a_job_whose_client_left_while_it_waited_is_not_counted_as_waiting(start_server: Callable[..., Server]) -> None:
    server = start_server(cpu_threads=1)
    with Wire(server.port) as first, Wire(server.port) as second:
        first.socket.sendall(long_job(LONG))
        until(lambda: gauge(server, "attnloss_admitted_requests") == 1, 10)
        second.socket.sendall(long_job(LONGER))
        until(lambda: gauge(server, "attnloss_admitted_requests") == 2, 10)
        with Wire(server.port) as leaving:
            leaving.socket.sendall(prepared(0, 16).request)
            assert first.receive().status == 200
        assert second.receive().status == 200
    until_idle(server, within_s=5)


def long_job(n: int) -> bytes:
    """Alone in its batch, and its answer is one number."""
    query = encoded(tensors(0, (n, 1))["query"])
    return request_bytes(json.dumps({"query": query, "key": query, "return": ["loss"]}).encode(), "/loss")
