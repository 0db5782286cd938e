"""Deadlines and overload: who would wait in vain is told at once, and who stalls gives way."""

import base64
import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest

Refused = Callable[..., None]
SMALL = {"query": [[1]], "key": [[1]], "return": ["entropy"]}
HEAD = b"POST /attention HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


def long_job(n: int) -> str:
    """About n² · 3 ns on one thread."""
    numbers = np.random.default_rng(0).standard_normal((2, n, 4)).astype("<f4")
    names = ("query", "key")
    tensors = {
        name: {"shape": [n, 4], "dtype": "float32", "base64": base64.b64encode(array.tobytes()).decode()}
        for name, array in zip(names, numbers, strict=True)
    }
    return json.dumps(tensors | {"return": ["entropy"]})


@pytest.fixture(scope="module")
def busy(start_server: Callable[..., Any]) -> Any:
    """A server of one thread and three places."""
    return start_server(max_queue_jobs=3, cpu_threads=1)


@contextlib.contextmanager
def backlog(server: Any, jobs: int, n: int = 16_000) -> Iterator[list[int]]:
    """While so many long jobs are computed or wait; their statuses."""
    body, statuses = long_job(n), []
    began_s = time.monotonic()
    with server.make_client() as client:
        client.post("/attention", content=body).raise_for_status()  # now it is known what one takes
    one_s = time.monotonic() - began_s

    def ask() -> None:
        with server.make_client() as client:
            statuses.append(client.post("/attention", content=body).status_code)

    with ThreadPoolExecutor(jobs) as pool:
        for _ in range(jobs):
            pool.submit(ask)
        while metric(server, "attnloss_admitted_requests") < jobs:
            time.sleep(0.01)
        time.sleep(0.1)
        yield [round(1e3 * one_s)]
    assert statuses == [200] * jobs


def metric(server: Any, name: str) -> float:
    lines = server.client.get("/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


@pytest.mark.parametrize("given", ["abc", "0", "-1", "nan", "", "1e999x"])
def test_a_timeout_that_is_no_positive_number_is_refused(server: Any, refused: Refused, given: str) -> None:
    answer = server.client.post("/attention", json=SMALL, headers={"X-Request-Timeout": given})
    refused(answer, 422, "X-Request-Timeout")


@pytest.mark.parametrize("given", ["5", "0.9", "1e9", "inf"])
def test_a_timeout_within_or_beyond_the_servers_own_is_taken(server: Any, given: str) -> None:
    server.post("/attention", SMALL, headers={"X-Request-Timeout": given})


def test_a_request_ends_with_its_own_deadline(busy: Any, refused: Refused) -> None:
    began_s = time.monotonic()
    answer = busy.client.post("/attention", content=long_job(30_000), headers={"X-Request-Timeout": "0.25"})
    refused(answer, 504, "0.25 s")
    assert time.monotonic() - began_s < 2
    busy.is_right()


def test_a_deadline_that_will_be_missed_is_429_at_once_and_a_longer_one_is_served(busy: Any, refused: Refused) -> None:
    with backlog(busy, 2, 32_000) as (one_ms,):
        began_s = time.monotonic()
        answer = busy.client.post("/attention", json=SMALL, headers={"X-Request-Timeout": str(one_ms / 4000)})
        refused(answer, 429, "its deadline is")
        assert time.monotonic() - began_s < one_ms / 4000
        assert int(answer.headers["retry-after"]) >= 1
        busy.post("/attention", SMALL, headers={"X-Request-Timeout": "50"})


def test_a_full_house_is_429_and_says_when_what_waits_will_be_done(busy: Any, refused: Refused) -> None:
    with backlog(busy, 3, 24_000) as (one_ms,):
        answer = busy.client.post("/attention", json=SMALL)
        refused(answer, 429, "3 places")
        assert 1 <= int(answer.headers["retry-after"]) <= 1 + 3 * one_ms / 1000 * 1.5


def test_half_sent_bodies_give_way_to_a_request_that_is_whole(busy: Any, read_answer: Any, refused: Refused) -> None:
    body = json.dumps(SMALL).encode()
    with contextlib.ExitStack() as held:
        half = [
            held.enter_context(busy.send_raw(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body[:9]))
            for _ in range(3)
        ]
        time.sleep(0.3)
        assert busy.client.post("/attention", json=SMALL).status_code == 429, "they may still come"
        time.sleep(2.2)
        assert busy.client.post("/attention", json=SMALL).status_code == 200
        refused(read_answer(half[0]), 408, "another request needed the place")
        half[1].sendall(body[9:])
        assert read_answer(half[1]).status_code == 200, "only as many are ended as need be"
    busy.is_right()


def test_a_body_that_comes_steadily_keeps_its_place_however_slow_it_is(
    busy: Any, read_answer: Any, refused: Refused
) -> None:
    body = json.dumps(SMALL).encode() + b" " * 60
    with contextlib.ExitStack() as held:
        head = HEAD + b"Content-Length: %d\r\n\r\n" % len(body)
        steady = [held.enter_context(busy.send_raw(head)) for _ in range(3)]
        for place in range(0, len(body), 3):
            for connection in steady:
                connection.sendall(body[place : place + 3])
            time.sleep(0.1)
            if place == 3 * (len(body) // 3 - 1):
                refused(busy.client.post("/attention", json=SMALL), 429, "3 places")
        assert [read_answer(connection).status_code for connection in steady] == [200] * 3


def test_a_body_that_outlasts_its_own_deadline_is_504(busy: Any, read_answer: Any, refused: Refused) -> None:
    began_s = time.monotonic()
    with busy.send_raw(HEAD + b"X-Request-Timeout: 0.5\r\nContent-Length: 99\r\n\r\n{") as connection:
        refused(read_answer(connection), 504, "before the deadline")
    assert time.monotonic() - began_s < 2


def test_tensors_are_not_refused_for_texts_that_they_need_not_wait_for(start_server: Callable[..., Any]) -> None:
    server = start_server(models="default", cpu_threads=1)
    server.post("/loss", {"text": "I love programming"}, headers={"X-Request-Timeout": "60"})
    text = json.dumps({"text": ["word " * 400] * 8, "order": {"permutations": 8}})

    def ask(_: int) -> int:
        with server.make_client() as client:
            return client.post("/loss", content=text).status_code

    with ThreadPoolExecutor(3) as pool:
        server.client.post("/loss", content=text).raise_for_status()
        asking = pool.map(ask, range(3))
        while metric(server, "attnloss_admitted_requests") < 3:
            time.sleep(0.01)
        server.post("/attention", SMALL, headers={"X-Request-Timeout": "3"})
        assert list(asking) == [200] * 3


def test_an_answer_that_is_read_slowly_is_sent_whole_before_the_server_ends(start_server: Callable[..., Any]) -> None:
    server = start_server()
    body = json.dumps({"query": [[0.0]] * 1800, "key": [[0.0]] * 1800, "return": ["weights"]}).encode()
    with server.send_raw(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body) as connection:
        first = connection.recv(100)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(3)
        received = len(first)
        while part := connection.recv(1 << 20):
            received += len(part)
    assert received > 1800 * 1800 * 4
    assert server.process.wait(10) == 0


def test_a_draining_server_says_so_to_new_connections_and_probes(start_server: Callable[..., Any]) -> None:
    server = start_server(cpu_threads=1)
    body = long_job(30_000)

    def ask(_: int) -> httpx.Response:
        with server.make_client() as client:
            return client.post("/attention", content=body)

    with ThreadPoolExecutor(8) as pool:
        asking = [pool.submit(ask, number) for number in range(8)]
        while metric(server, "attnloss_admitted_requests") < len(asking):
            time.sleep(0.01)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        with server.make_client() as client:
            late = client.post("/attention", json=SMALL)
            assert (late.status_code, late.headers["connection"]) == (503, "close")
            assert late.headers["retry-after"]
            ready = client.get("/health/ready")
            assert (ready.status_code, ready.json()["ready"]) == (503, False)
            assert client.get("/health/live").status_code == 200
            assert client.get("/metrics").status_code == 200
        for answer in (each.result() for each in asking):
            assert (answer.status_code, answer.headers["connection"]) == (200, "close")
    assert server.process.wait(10) == 0


def test_two_workers_share_the_work_and_one_that_dies_stops_nobody(start_server: Callable[..., Any]) -> None:
    server = start_server(device="cpu,cpu", cpu_threads=1)
    give_up_s = time.monotonic() + 20
    while any(worker["state"] != "ready" for worker in server.client.get("/health/ready").json()["workers"]):
        assert time.monotonic() < give_up_s
        time.sleep(0.05)
    pids = [worker["pid"] for worker in server.client.get("/health/ready").json()["workers"]]
    assert len(set(pids)) == 2
    body = long_job(6000)

    def ask(_: int) -> int:
        with server.make_client() as client:
            return client.post("/attention", content=body).status_code

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(16))) == [200] * 16
        asking = pool.map(ask, range(16))
        os.kill(pids[0], signal.SIGKILL)
        assert server.client.get("/health/ready").status_code == 200
        assert list(asking) == [200] * 16
