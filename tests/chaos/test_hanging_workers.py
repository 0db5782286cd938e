"""A worker that is silent, or stuck past every deadline, is replaced; what waited is answered."""

import os
import signal
import time
from collections.abc import Callable

import pytest

from tests.chaos.clients import Clients, until
from tests.chaos.faulty_worker import HANG
from tests.chaos.figures import record
from tests.chaos.jobs import mixed, prepared
from tests.chaos.watch import ready_pid, until_idle, until_ready
from tests.chaos.wire import Wire
from tests.serving import Server

pytestmark = pytest.mark.chaos

NOTICED_WITHIN_S = 5.0
REPLACED_WITHIN_S = 15.0
"""Ten seconds of silence, and the start of another worker."""

DEADLINE_S = 3.0


def test_a_stopped_worker_is_replaced_and_what_waited_is_answered(start_server: Callable[..., Server]) -> None:
    server = start_server()
    worker = ready_pid(server)
    assert worker is not None
    with Clients(server.port, mixed(), 16) as clients:
        clients.until_each_has_answers()
        os.kill(worker, signal.SIGSTOP)
        stopped_s = time.monotonic()
        try:
            noticed_s = until(lambda: ready_pid(server) is None, NOTICED_WITHIN_S)
            until_ready(server, without=worker, within_s=REPLACED_WITHIN_S)
        except AssertionError:
            os.kill(worker, signal.SIGKILL)  # or the clients would wait for it, and hide what was wrong
            raise
        replaced_s = time.monotonic() - stopped_s
        clients.until_each_has_answers()
    record(
        "SIGSTOP of the worker under load",
        requests=sum(clients.answered),
        lost_or_wrong=0,
        not_ready_after_s=noticed_s,
        replaced_after_s=replaced_s,
    )
    assert replaced_s < REPLACED_WITHIN_S
    until_idle(server)
    server.is_right()


def test_a_batch_that_hangs_past_its_deadline_costs_its_worker(start_faulty: Callable[..., Server]) -> None:
    server = start_faulty(deadline_s=DEADLINE_S)
    worker = ready_pid(server)
    began_s = time.monotonic()
    with Wire(server.port) as wire:
        status = wire.ask(prepared(0, 16, mark=HANG).request).status
    answered_s = time.monotonic() - began_s
    until_ready(server, without=worker, within_s=REPLACED_WITHIN_S)
    replaced_s = time.monotonic() - began_s
    record("a batch that hangs", deadline_s=DEADLINE_S, answered_504_after_s=answered_s, replaced_after_s=replaced_s)
    assert status == 504
    assert replaced_s < DEADLINE_S + REPLACED_WITHIN_S
    with Clients(server.port, mixed(), 4) as clients:
        clients.until_each_has_answers()
    until_idle(server)
