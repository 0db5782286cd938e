"""Starting, dying and ending: a death costs time and no answer, and nothing is left behind."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest

from tests.serving import running, total, workers

ROOT = Path(__file__).resolve().parents[2]
StartServer = Callable[..., Any]


@pytest.fixture(scope="module")
def pair(start_server: StartServer) -> Any:
    """A server of two API processes."""
    return start_server(processes=2)


def job(n: int, d: int = 4) -> dict[str, Any]:
    rng = np.random.default_rng(n)
    query, key = rng.standard_normal((2, n, d)).tolist()
    return {"query": query, "key": key, "return": ["entropy", "max"]}


def test_a_replacement_is_forked_from_a_process_that_has_loaded_everything(pair: Any) -> None:
    took_s = []
    for _ in range(3):
        killed = pair.worker_pid()
        os.kill(killed, signal.SIGKILL)
        began_s = time.monotonic()
        pair.is_right()
        took_s.append(time.monotonic() - began_s)
        assert pair.worker_pid() != killed
    assert min(took_s) < 1, "an import of torch takes longer"


def test_a_worker_whose_template_died_is_started_afresh(pair: Any) -> None:
    for process in running(pair, "service.template"):
        process.kill()
    pair.is_right()
    assert len(workers(pair)) + len(running(pair, "service.worker_main")) >= 1


def test_metrics_count_the_requests_of_all_api_processes(pair: Any) -> None:
    name = 'attnloss_requests_total{route="/attention",status="200"}'
    before = total(pair.client.get("/metrics").text, name)
    for _ in range(30):
        with pair.make_client() as client:
            client.post("/attention", json=job(2)).raise_for_status()
    for _ in range(8):
        with pair.make_client() as client:
            assert total(client.get("/metrics").text, name) == before + 30


@pytest.mark.parametrize("after_s", [0.2, 0.35])
def test_a_killed_worker_costs_time_and_no_answer(pair: Any, after_s: float) -> None:
    jobs = [job(n) for n in (3, 300, 700, 1100)]
    expected = [pair.post("/attention", body) for body in jobs]
    killed = threading.Event()

    def ask(k: int) -> int:
        asked = 0
        with pair.make_client() as client:
            while not killed.is_set() or asked < 4:
                answer = client.post("/attention", json=jobs[(k + asked) % 4])
                assert answer.status_code == 200, answer.text
                for name in ("entropy", "max"):
                    right = expected[(k + asked) % 4][name]
                    np.testing.assert_allclose(answer.json()[name], right, atol=1e-5)
                asked += 1
        return asked

    worker = pair.worker_pid()
    with ThreadPoolExecutor(8) as pool:
        asking = [pool.submit(ask, k) for k in range(8)]
        time.sleep(after_s)
        os.kill(worker, signal.SIGKILL)
        time.sleep(0.1)
        killed.set()
        assert sum(future.result() for future in asking) >= 32
    assert pair.client.get("/health/ready").status_code == 200
    assert pair.worker_pid() != worker
    pair.is_right()


def test_a_killed_api_process_is_replaced(pair: Any) -> None:
    api = running(pair, "service.api_process")[0]
    api.kill()
    api.wait(5)
    give_up_s = time.monotonic() + 15
    while len(running(pair, "service.api_process")) < 2:
        assert time.monotonic() < give_up_s
        time.sleep(0.05)
    with pair.make_client() as client:
        assert client.post("/attention", json=job(2)).status_code == 200


def test_sigterm_answers_what_was_admitted_and_leaves_nothing(start_server: StartServer) -> None:
    server = start_server(cpu_threads=1)
    processes = server.processes()
    assert len(processes) == 4
    body = json.dumps(job(20000) | {"return": ["entropy", "received"]})  # once: eight times would take too long

    def ask(_: int) -> httpx.Response:
        with server.make_client() as client:
            return client.post("/attention", content=body)

    with ThreadPoolExecutor(9) as pool:
        asking = [pool.submit(ask, i) for i in range(8)]
        give_up_s = time.monotonic() + 10
        while total(server.client.get("/metrics").text, "attnloss_admitted_requests") < 8:
            assert time.monotonic() < give_up_s, "the jobs end too soon"
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.1)
        began_s = time.monotonic()
        late = _status_or_error(server)
        refused_after_s = time.monotonic() - began_s
        assert server.process.wait(40) == 0
        statuses = [future.result().status_code for future in asking]
    assert statuses == [200] * 8
    assert late in (503, "ConnectError"), late
    assert refused_after_s < 2, refused_after_s
    assert psutil.wait_procs(processes, timeout=5)[1] == []
    assert list(server.runs.iterdir()) == []


def _status_or_error(server: Any) -> int | str:
    with server.make_client() as client:
        try:
            return client.post("/attention", json=job(2)).status_code
        except httpx.TransportError as error:
            return type(error).__name__


def test_ctrl_c_to_the_whole_group_ends_it_in_order(pair: Any) -> None:
    processes = pair.processes()
    os.killpg(pair.process.pid, signal.SIGINT)
    assert pair.process.wait(20) == 0
    assert psutil.wait_procs(processes, timeout=5)[1] == []
    assert list(pair.runs.iterdir()) == []
    assert "Traceback" not in pair.log.read_text()


def test_a_killed_parent_leaves_no_process(start_server: StartServer) -> None:
    server = start_server(processes=2)
    processes = server.processes()
    assert len(processes) == 5
    server.process.kill()
    server.process.wait()
    assert psutil.wait_procs(processes, timeout=5)[1] == []
    assert list(server.runs.iterdir()) == [], "the last process that ends removes the socket"


def serve(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "service.cli", "serve", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=os.environ | settings, capture_output=True, text=True, timeout=20, check=False
    )


def assert_one_line(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stdout == ""
    for word in words:
        assert word in done.stderr


def test_a_port_that_is_taken_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert_one_line(serve("--port", port), "127.0.0.1:" + port, "in use")


@pytest.mark.parametrize(
    ("name", "value"),
    [("port", "abc"), ("port", "70000"), ("max_body_bytes", "-1"), ("deadline_s", "0"), ("gzip_answers", "yes")],
)
def test_a_bad_setting_is_one_clear_line(name: str, value: str) -> None:
    assert_one_line(serve(**{f"ATTNLOSS_{name.upper()}": value}), name, value)


def test_a_device_that_does_not_exist_is_one_clear_line() -> None:
    assert_one_line(serve("--port", "0", "--device", "quantum"), "device", "quantum")


def test_a_run_directory_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    assert_one_line(serve("--port", "0", ATTNLOSS_RUN_DIRECTORY=str(tmp_path / "missing")), "missing")


@pytest.mark.parametrize("processes", [1, 2])
def test_uvicorn_starts_exactly_one_worker_of_its_own(start_server: StartServer, processes: int) -> None:
    command = ["uvicorn", "service.app:app", "--port", "0", "--workers", str(processes)]
    server = start_server(command)
    for _ in range(6):
        server.is_right()
    time.sleep(0.3)
    everyone = server.processes()
    assert len(workers(server)) == 1
    server.terminate()
    assert psutil.wait_procs(everyone, timeout=8)[1] == []
    assert list(server.runs.iterdir()) == []
    assert "Traceback" not in server.log.read_text()
