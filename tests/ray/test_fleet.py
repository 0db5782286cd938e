"""Replicas come, die and are replaced under load, and every request gets its right answer."""

import contextlib
import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.chaos.clients import Clients, until
from tests.chaos.jobs import mixed
from tests.chaos.wire import Wire, request_bytes
from tests.server.test_overload import long_job
from tests.serving import Server, total

CLIENTS = 8
STARTED_WITHIN_S = 60.0


@pytest.fixture(scope="module")
def fleet(start_server: Callable[..., Server]) -> Iterator[Server]:
    """One ingress replica, and one worker replica that becomes two under load and stays two."""
    scaling = {"ray_max_workers": 2, "ray_worker_jobs": 2, "ray_upscale_delay_s": 0.5, "ray_look_back_s": 2}
    server = start_server(**scaling, cpu_threads=1)
    yield server
    processes = server.processes()
    assert server.terminate() == 0, server.log.read_text()
    assert psutil.wait_procs(processes, timeout=10)[1] == [], "a cluster that ended leaves no process"
    assert list(server.runs.glob("attnloss-*")) == []


def replicas(server: Server, deployment: str) -> list[psutil.Process]:
    """The processes of a deployment's replicas."""
    name = f"ray::ServeReplica:attnloss:{deployment}"
    return [process for process in server.processes() if name in " ".join(process.cmdline())]


def ready_workers(server: Server) -> set[int]:
    """Process ids of the worker processes that are ready, one in each worker replica."""
    told = server.client.get("/health/ready").json()["workers"]
    return {worker["pid"] for worker in told if worker["state"] == "ready"}


def until_two_workers(server: Server, *, without: set[int] = frozenset()) -> set[int]:  # type: ignore[assignment]
    """Wait until two worker replicas are ready, none of them with one of these worker processes."""
    until(lambda: len(ready_workers(server) - without) == 2, STARTED_WITHIN_S)
    return ready_workers(server) - without


def used_s(pid: int) -> float:
    """Seconds of a CPU that a process has used."""
    return float(sum(psutil.Process(pid).cpu_times()[:2]))


def test_load_makes_one_worker_replica_two_and_both_compute(fleet: Server) -> None:
    assert len(ready_workers(fleet)) == 1
    with Clients(fleet.port, mixed(), CLIENTS) as clients:
        both = until_two_workers(fleet)
        before_s = {pid: used_s(pid) for pid in both}
        clients.until_each_has_answers(20)
    assert all(used_s(pid) > before_s[pid] for pid in both)


def test_a_killed_worker_replica_loses_no_request(fleet: Server) -> None:
    with Clients(fleet.port, mixed(), CLIENTS) as clients:
        before = until_two_workers(fleet)
        clients.until_each_has_answers()
        killed = replicas(fleet, "worker")[0]
        os.kill(killed.pid, signal.SIGKILL)
        clients.until_each_has_answers(3)
        until(lambda: len(ready_workers(fleet)) == 2 and ready_workers(fleet) != before, STARTED_WITHIN_S)
        clients.until_each_has_answers()
    until(lambda: len(replicas(fleet, "worker")) == 2, STARTED_WITHIN_S)
    assert len(before - {process.pid for process in fleet.processes()}) == 1, "its worker process ended with it"


def test_a_killed_worker_process_is_replaced_within_its_replica(fleet: Server) -> None:
    with Clients(fleet.port, mixed(), CLIENTS) as clients:
        worker = min(until_two_workers(fleet))
        of_replica = {process.pid for process in replicas(fleet, "worker")}
        os.kill(worker, signal.SIGKILL)
        clients.until_each_has_answers(3)
        until(lambda: len(ready_workers(fleet) - {worker}) == 2, STARTED_WITHIN_S)
    assert {process.pid for process in replicas(fleet, "worker")} == of_replica


def test_jobs_of_clients_that_went_away_are_not_computed(fleet: Server) -> None:
    request = request_bytes(long_job(40_000).encode())
    until_two_workers(fleet)
    fleet.is_right()
    with contextlib.ExitStack() as connected:
        for _ in range(16):
            connected.enter_context(Wire(fleet.port)).socket.sendall(request)
        until(lambda: total(fleet.client.get("/metrics").text, "attnloss_admitted_requests") >= 10, 60)
        before_s = sum(map(used_s, ready_workers(fleet)))
    until(lambda: total(fleet.client.get("/metrics").text, "attnloss_admitted_requests") == 0, 20)
    fleet.is_right()
    fleet.is_right()
    spent_s = sum(map(used_s, ready_workers(fleet))) - before_s
    assert spent_s < 8.0, "all of them take twice as much"


def test_a_rolling_redeploy_fails_no_request(fleet: Server) -> None:
    two_losses = {"query": [[1.0]], "key": [[1.0]], "losses": [{"name": "entropy"}, {"name": "row_sum"}]}
    assert fleet.client.post("/loss", json=two_losses).status_code == 200
    (fleet.runs / "redeploy").write_text(json.dumps({"max_losses": 1}))
    with Clients(fleet.port, mixed(), CLIENTS) as clients:
        before = until_two_workers(fleet)
        ingress = {process.pid for process in replicas(fleet, "ingress")}
        fleet.process.send_signal(signal.SIGHUP)
        until((fleet.runs / "redeployed").exists, 2 * STARTED_WITHIN_S)
        until_two_workers(fleet, without=before)
        clients.until_each_has_answers(3)
    assert not ingress & {process.pid for process in replicas(fleet, "ingress")}
    assert "1" in fleet.client.post("/loss", json=two_losses).json()["detail"]


def test_no_ingress_replica_loads_torch(fleet: Server) -> None:
    with_torch = [p.pid for p in fleet.processes() if "libtorch" in Path(f"/proc/{p.pid}/maps").read_text()]
    assert ready_workers(fleet) <= set(with_torch)
    assert not {process.pid for process in replicas(fleet, "ingress")} & set(with_torch)
