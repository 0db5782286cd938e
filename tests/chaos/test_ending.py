"""However the server ends under load: what it admitted it answers, and nothing is left of it."""

import contextlib
import itertools
import json
import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from tests.chaos.clients import Clients, until
from tests.chaos.figures import record
from tests.chaos.jobs import Prepared, mixed
from tests.chaos.watch import until_idle
from tests.chaos.wire import Wire
from tests.serving import Server, running, workers

pytestmark = pytest.mark.chaos

CLIENTS = 16
DRAIN_S = 20
ENDED_WITHIN_S = 10.0


class Persistent:
    """Clients that open a connection for every request, and note what came of each by its id, until told to stop."""

    def __init__(self, port: int, jobs: list[Prepared]) -> None:
        self.port = port
        self.jobs = jobs
        self.outcomes: dict[str, int | str] = {}
        self.stopping = threading.Event()

    @contextlib.contextmanager
    def asking(self) -> Iterator[None]:
        """They ask while the block runs."""
        with ThreadPoolExecutor(CLIENTS) as pool:
            asking = [pool.submit(self._ask_on, index) for index in range(CLIENTS)]
            try:
                yield
            finally:
                self.stopping.set()
            for future in asking:
                future.result()

    def _ask_on(self, index: int) -> None:
        for turn in itertools.count():
            if self.stopping.is_set():
                return
            request_id = f"{index}-{turn}"
            job = self.jobs[(index + turn) % len(self.jobs)]
            self.outcomes[request_id] = self._ask(job, request_id)

    def _ask(self, job: Prepared, request_id: str) -> int | str:
        request = job.request.replace(b"\r\n", f"\r\nX-Request-ID: {request_id}\r\n".encode(), 1)
        try:
            with Wire(self.port) as wire:
                answer = wire.ask(request)
        except ConnectionRefusedError:
            time.sleep(0.01)
            return "refused"
        except ConnectionError:
            return "closed"
        if answer.status == 503:
            assert answer.headers["connection"] == "close"
        else:
            job.check(answer)
        return answer.status


def logged_statuses(server: Server) -> dict[str, int]:
    """The status of each request that the server handled, by its id, as its log tells."""
    lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    return {line["request_id"]: line["status"] for line in lines if line["event"] == "request"}


@pytest.mark.parametrize("whole_group", [False, True], ids=["the server", "its process group"])
def test_sigterm_under_load_loses_no_admitted_request(start_server: Callable[..., Server], whole_group: bool) -> None:
    server = start_server(processes=2, drain_s=DRAIN_S, log_requests="all")
    processes = server.processes()
    clients = Persistent(server.port, mixed())
    with clients.asking():
        until(lambda: len(clients.outcomes) >= 20 * CLIENTS, 60)
        send = os.killpg if whole_group else os.kill
        began_s = time.monotonic()
        send(server.process.pid, signal.SIGTERM)
        status = server.process.wait(DRAIN_S + 5)
        took_s = time.monotonic() - began_s
    counts = Counter(clients.outcomes.values())
    assert status == 0
    assert set(counts) <= {200, 503, "refused", "closed"}
    logged = logged_statuses(server)
    answered = {request_id: outcome for request_id, outcome in clients.outcomes.items() if isinstance(outcome, int)}
    assert {request_id: logged.get(request_id) for request_id in answered} == answered
    lost = [request_id for request_id in logged if request_id in clients.outcomes and request_id not in answered]
    assert lost == [], "handled, and no answer came"
    assert_nothing_is_left(server, processes)
    record(
        f"SIGTERM to {'the group' if whole_group else 'the server'} under load",
        lost=0,
        **_named(counts),
        ended_s=took_s,
    )


def _named(counts: Counter[int | str]) -> dict[str, int]:
    names = {200: "answered_200", 503: "answered_503", "refused": "refused_connections", "closed": "closed_unanswered"}
    return {name: counts[outcome] for outcome, name in names.items()}


def assert_nothing_is_left(server: Server, processes: list[psutil.Process]) -> None:
    assert psutil.wait_procs(processes, timeout=ENDED_WITHIN_S)[1] == []
    until(lambda: not list(server.runs.iterdir()), ENDED_WITHIN_S)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port), timeout=5).close()


def test_a_killed_api_process_takes_only_its_own_connections_with_it(start_server: Callable[..., Server]) -> None:
    server = start_server(processes=2)
    worker = server.worker_pid()
    clients = Persistent(server.port, mixed())
    with clients.asking():
        until(lambda: len(clients.outcomes) >= 10 * CLIENTS, 60)
        victim = running(server, "service.api_process")[0]
        began_s = time.monotonic()
        victim.kill()
        until(lambda: victim.pid not in {process.pid for process in running(server, "service.api_process")}, 10)
        until(lambda: len(running(server, "service.api_process")) == 2, 15)
        replaced_s = time.monotonic() - began_s
        count = len(clients.outcomes)
        until(lambda: len(clients.outcomes) >= count + 10 * CLIENTS, 60)
    counts = Counter(clients.outcomes.values())
    assert set(counts) <= {200, "closed"}
    assert counts["closed"] <= CLIENTS, "more than the killed process can have held"
    assert server.worker_pid() == worker
    assert len(workers(server)) == 1
    until_idle(server)
    server.is_right()
    record("kill -9 of an API process under load", **_named(counts), started_again_s=replaced_s)


def test_a_killed_parent_takes_everything_with_it(start_server: Callable[..., Server]) -> None:
    server = start_server(processes=2)
    processes = server.processes()
    with contextlib.suppress(ConnectionError, AssertionError), Clients(server.port, mixed(), CLIENTS) as clients:
        clients.until_each_has_answers()
        began_s = time.monotonic()
        server.process.kill()
        server.process.wait()
        left = psutil.wait_procs(processes, timeout=ENDED_WITHIN_S)[1]
    assert left == []
    assert_nothing_is_left(server, processes)
    record("kill -9 of the parent under load", gone_after_s=time.monotonic() - began_s, processes=len(processes))
