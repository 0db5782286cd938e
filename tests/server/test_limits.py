"""Limits: of bodies, headers, answers, cost, time and places (design sections 4.3 and 4.4)."""

import contextlib
import gzip
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

Refused = Callable[..., None]
BODY, ANSWER, COST = 2000, 900, 2000
HEAD = b"POST /attention HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def small(start_server: Callable[..., Any]) -> Any:
    """A server with small limits."""
    limits = {"max_body_bytes": BODY, "max_answer_bytes": ANSWER, "max_job_cost": COST, "body_timeout_s": 0.5}
    return start_server(**limits)


@pytest.fixture(scope="module")
def narrow(start_server: Callable[..., Any]) -> Any:
    """A server with one place and little patience."""
    return start_server(max_queue_jobs=1, deadline_s=0.4, cpu_threads=1)


@pytest.fixture(autouse=True)
def _the_servers_answer_afterwards(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    for name in {"small", "server"} & set(request.fixturenames):
        request.getfixturevalue(name).is_right()


def zeros(n: int, d: int = 1) -> list[list[int]]:
    return [[0] * d] * n


def test_413_comes_before_a_body_that_is_too_large(small: Any, read_answer: Any, refused: Refused) -> None:
    with small.send_raw(HEAD + b"Content-Length: %d\r\n\r\n" % (BODY + 1)) as connection:
        refused(read_answer(connection), 413, str(BODY), str(BODY + 1))


def test_413_comes_before_100_continue(small: Any, read_answer: Any, refused: Refused) -> None:
    head = HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % (BODY + 1)
    with small.send_raw(head) as connection:
        refused(read_answer(connection), 413)


def test_a_client_that_sends_a_large_body_all_the_same_reads_its_413(server: Any, refused: Refused) -> None:
    refused(server.client.post("/attention", content=b" " * ((64 << 20) + 1)), 413, str(64 << 20))


def test_413_for_a_body_of_unknown_length_once_it_is_too_long(small: Any, refused: Refused) -> None:
    refused(small.client.post("/attention", content=(b" " * 500 for _ in range(9))), 413, str(BODY))


def test_a_body_of_unknown_length_is_read(small: Any) -> None:
    chunks = iter((b'{"query": [[1]], "key": ', b'[[1]], "return"', b': ["weights"]}'))
    assert small.client.post("/attention", content=chunks).raise_for_status().json()["weights"] == [[1.0]]


@pytest.mark.parametrize("size", [BODY + 1, 10_000_000])
def test_413_for_a_gzip_bomb(small: Any, refused: Refused, size: int) -> None:
    bomb = gzip.compress(b" " * size)[:]
    answer = small.client.post("/attention", content=bomb, headers={"content-encoding": "gzip"})
    refused(answer, 413, str(BODY))


def test_413_for_an_answer_that_would_be_too_large_says_what_to_ask_for(small: Any, refused: Refused) -> None:
    body = {"query": zeros(20), "key": zeros(20), "return": ["weights"]}
    refused(small.client.post("/attention", json=body), 413, str(ANSWER), "top_k", "queries", "base64")
    top = small.post("/attention", body | {"return": ["top"], "top_k": 1})
    assert top["top"]["index"] == [[0]] * 20
    assert small.post("/attention", body | {"queries": [0, 1]})["weights"][0][0] == pytest.approx(1 / 20)


@pytest.mark.parametrize(("path", "returns", "n"), [("/attention", "entropy", 45), ("/loss", "grad", 26)])
def test_413_for_a_job_that_costs_too_much(small: Any, refused: Refused, path: str, returns: str, n: int) -> None:
    body = {"query": zeros(n), "key": zeros(n), "return": [returns]}
    refused(small.client.post(path, json=body), 413, str(COST), str(n * n * (3 if returns == "grad" else 1)))
    assert small.post(path, body | {"query": zeros(n - 1), "key": zeros(n - 1)})[returns]


@pytest.mark.parametrize("path", ["/attention", "/loss"])
def test_408_for_a_body_that_comes_too_slowly(small: Any, read_answer: Any, refused: Refused, path: str) -> None:
    head = HEAD.replace(b"/attention", path.encode()) + b"Content-Length: 100\r\n\r\n{"
    began_s = time.monotonic()
    with small.send_raw(head) as connection:
        answer = read_answer(connection)
    assert 0.4 < time.monotonic() - began_s < 5
    refused(answer, 408, "0.5")
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize("size", [70_000, 1_000_000])
@pytest.mark.parametrize("path", ["/attention", "/health/live"])
def test_431_for_headers_that_are_too_large(
    server: Any, read_answer: Any, refused: Refused, path: str, size: int
) -> None:
    many = b"".join(b"X-%d: %s\r\n" % (i, b"x" * 1000) for i in range(size // 1000))
    head = HEAD.replace(b"/attention", path.encode()) + many + b"Content-Length: 0\r\n\r\n"
    with server.send_raw(head) as connection:
        refused(read_answer(connection), 431)


@contextlib.contextmanager
def place_taken(server: Any) -> Iterator[Any]:
    """A request that is admitted and whose body is not complete."""
    body = json.dumps({"query": [[1]], "key": [[1]], "return": ["weights"]}).encode()
    with server.send_raw(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body[:5]) as connection:
        time.sleep(0.2)
        yield lambda: connection.sendall(body[5:]) or connection


def test_429_while_every_place_is_taken(narrow: Any, read_answer: Any, refused: Refused) -> None:
    with place_taken(narrow) as complete:
        for path in ("/attention", "/loss"):
            answer = narrow.client.post(path, json={"query": [[1]], "key": [[1]]})
            refused(answer, 429)
            assert int(answer.headers["retry-after"]) >= 1
        assert narrow.client.get("/health/live").status_code == 200
        assert read_answer(complete()).json()["weights"] == [[1.0]]
    narrow.is_right()


def test_a_client_that_goes_away_gives_its_place_back(narrow: Any) -> None:
    with place_taken(narrow):
        pass
    eventually_right(narrow)


def test_504_once_the_deadline_has_passed(narrow: Any, refused: Refused) -> None:
    body = {"query": zeros(32_000), "key": zeros(32_000), "return": ["entropy", "max", "received"]}
    refused(narrow.client.post("/attention", json=body), 504, "0.4")
    eventually_right(narrow)


def eventually_right(server: Any) -> None:
    give_up_s = time.monotonic() + 20
    while server.client.post("/attention", json={"query": [[1]], "key": [[1]], "value": [[1]]}).status_code != 200:
        assert time.monotonic() < give_up_s
        time.sleep(0.05)
    server.is_right()


def test_503_before_the_first_worker_is_ready(small: Any, refused: Refused) -> None:
    answer: httpx.Response | None = small.while_starting
    assert answer is not None
    refused(answer, 503, "starting")
    assert int(answer.headers["retry-after"]) >= 1
