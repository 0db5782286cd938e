"""Connections that would hold the server up: too many of them, slow headers, answers that nobody takes."""

import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.serving import Server, answer_on, total


@pytest.fixture(scope="module")
def strict(start_server: Callable[..., Server]) -> Iterator[Server]:
    settings = {"max_connections": 8, "header_timeout_s": 1, "stalled_answer_s": 2, "body_timeout_s": 2}
    server = start_server(**settings)
    yield server
    assert server.terminate() == 0
    assert "Traceback" not in server.log.read_text()


def ends_within(connection: socket.socket, seconds: float) -> bytes:
    """All that came on the connection until it ended; it must end by then."""
    connection.settimeout(seconds)
    came = b""
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(1 << 16):
            came += part
    return came


@pytest.mark.parametrize("sent", [b"", b"GET /health/live HTTP/1.1\r\nHost: x\r\nX-", b"POST", b"\r\n"])
def test_a_connection_whose_headers_do_not_come_is_ended(strict: Server, sent: bytes) -> None:
    with strict.send_raw(sent) as connection:
        came = ends_within(connection, 5)
    if sent.strip():
        assert came.startswith(b"HTTP/1.1 408 ")
        assert json.loads(came.partition(b"\r\n\r\n")[2])["type"] == "urn:attnloss:problem:headers-too-slow"
    else:
        assert came == b""


def test_headers_that_trickle_do_not_win_time(strict: Server) -> None:
    with strict.send_raw(b"GET /health/live HTTP/1.1\r\nHost: x\r\n") as connection:
        began_s = time.monotonic()
        with contextlib.suppress(OSError):
            for number in range(100):
                connection.sendall(b"X-%d: y\r\n" % number)
                time.sleep(0.05)
        assert time.monotonic() - began_s < 4


@pytest.mark.parametrize("sent", [b"\r\n", b"GET /health/live HT"])
def test_a_kept_connection_that_begins_another_request_and_stops_is_ended(strict: Server, sent: bytes) -> None:
    with strict.send_raw(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n") as connection:
        assert answer_on(connection).status_code == 200
        connection.sendall(sent)
        ends_within(connection, 8)


def test_a_slow_request_that_keeps_its_time_is_answered(strict: Server) -> None:
    body = json.dumps({"query": [[1.0]], "key": [[1.0]], "return": ["entropy"]}).encode()
    with strict.send_raw(b"POST /attention HTTP/1.1\r\nHost: x\r\n") as connection:
        time.sleep(0.6)
        connection.sendall(b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body))
        time.sleep(1.2)  # the body has its own time
        connection.sendall(body)
        assert answer_on(connection).status_code == 200


def test_one_connection_too_many_is_refused_in_words_and_the_others_are_served(strict: Server) -> None:
    with contextlib.ExitStack() as held:
        strict.client.close()
        strict.client = strict.make_client()
        connections = [held.enter_context(strict.send_raw(b"")) for _ in range(8)]
        time.sleep(0.2)
        request = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
        with strict.send_raw(request) as late:
            refused = ends_within(late, 5)
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nretry-after: 1\r\n" in refused
        problem = json.loads(refused.partition(b"\r\n\r\n")[2])
        assert problem["type"] == "urn:attnloss:problem:too-many-connections"
        assert "All 8 connections" in problem["detail"]
        connections[0].sendall(request)
        assert answer_on(connections[0]).status_code == 200
    time.sleep(0.3)
    assert strict.client.get("/health/live").status_code == 200


def test_the_bound_is_on_the_connections_of_all_processes_together(start_server: Callable[..., Server]) -> None:
    server = start_server(processes=3, max_connections=30)
    with contextlib.ExitStack() as held:
        held.enter_context(contextlib.closing(server.client))
        connections = [held.enter_context(server.send_raw(b"")) for _ in range(24)]
        for connection in connections:
            connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        assert {answer_on(connection).status_code for connection in connections} == {200}
        more = [held.enter_context(server.send_raw(b"")) for _ in range(12)]
        for connection in more:
            with contextlib.suppress(OSError):
                connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        refused = [ends_within(connection, 8).startswith(b"HTTP/1.1 503") for connection in more[-4:]]
        assert refused == [True] * 4


def test_garbage_behind_a_request_is_not_answered_in_its_place(strict: Server) -> None:
    left = 'attnloss_requests_total{route="/attention",status="499"}'
    before = total(strict.client.get("/metrics").text, left)
    n = 16000
    body = json.dumps({"query": [[0.1]] * n, "key": [[0.1]] * n, "return": ["entropy", "received"]}).encode()
    head = b"POST /attention HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    with strict.send_raw(head % len(body) + body + b"\x00 garbage\r\n\r\n") as connection:
        assert ends_within(connection, 8) == b""
    give_up_s = time.monotonic() + 5
    while total(strict.client.get("/metrics").text, left) == before:
        assert time.monotonic() < give_up_s
        time.sleep(0.1)


def test_a_body_whose_chunks_are_broken_is_answered_as_not_http(strict: Server) -> None:
    head = b"POST /attention HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
    with strict.send_raw(head + b"\r\n5\r\n{}   \r\nno length\r\n") as connection:
        came = ends_within(connection, 5)
    assert came.startswith(b"HTTP/1.1 400 ")
    assert came.count(b"HTTP/1.1 ") == 1


def test_what_stands_behind_a_body_in_chunks_is_no_header(strict: Server) -> None:
    head = (
        b"POST /attention HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    with strict.send_raw(head + b"2\r\n{}\r\n0\r\nX-Request-ID: late\r\n\r\n") as connection:
        answer = answer_on(connection)
    assert answer.status_code == 422
    assert answer.headers["x-request-id"] != "late"


def test_refusals_before_a_request_are_counted(strict: Server) -> None:
    name = 'attnloss_failures_total{reason="not-http",route="none"}'
    before = total(strict.client.get("/metrics").text, name)
    with strict.send_raw(b"\x16\x03\x01 TLS\r\n\r\n") as connection:
        came = ends_within(connection, 5)
    assert b"x-content-type-options: nosniff" in came
    assert total(strict.client.get("/metrics").text, name) == before + 1


def test_an_offer_of_another_protocol_is_not_taken_and_not_warned_of(strict: Server) -> None:
    offer = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABkAAQCAAAAAAIAAAAA"}
    assert strict.client.get("/health/live", headers=offer).status_code == 200
    assert "pgrade" not in strict.log.read_text()


def test_a_client_that_takes_nothing_of_its_answer_loses_the_connection(strict: Server) -> None:
    n = 1200
    body = json.dumps({"query": [[0.1]] * n, "key": [[0.1]] * n, "return": ["weights"]}).encode()
    head = b"POST /attention HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", strict.port))
    with connection:
        connection.sendall(head % len(body) + body)
        deadline_s = time.monotonic() + 15
        while open_connections(strict) > 1:  # the one that asks
            assert time.monotonic() < deadline_s, "the connection is kept"
            time.sleep(0.5)


def test_a_client_that_takes_its_answer_slowly_gets_it(strict: Server) -> None:
    n = 600
    body = json.dumps({"query": [[0.1]] * n, "key": [[0.1]] * n, "return": ["weights"]}).encode()
    head = b"POST /attention HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    connection.connect(("127.0.0.1", strict.port))
    with connection:
        connection.sendall(head % len(body) + b"Connection: close\r\n\r\n" + body)
        came, began_s = b"", time.monotonic()
        while part := connection.recv(1 << 18):
            came += part
            time.sleep(0.15)
    assert time.monotonic() - began_s > 3  # longer than a stalled client has
    assert len(json.loads(came.partition(b"\r\n\r\n")[2])["weights"]) == n


def test_what_is_not_http_is_told_so_as_a_problem(strict: Server) -> None:
    with strict.send_raw(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 TLS?\r\n\r\n") as connection:
        came = ends_within(connection, 5)
    assert came.startswith(b"HTTP/1.1 400 ")
    assert json.loads(came.partition(b"\r\n\r\n")[2])["type"] == "urn:attnloss:problem:not-http"


def open_connections(server: Server) -> float:
    return total(server.client.get("/metrics").text, "attnloss_connections ")


@pytest.fixture(scope="module")
def shared(start_server: Callable[..., Server]) -> Server:
    return start_server(cors_origins="https://app.example, https://other.example", api_keys="key")


@pytest.mark.parametrize(("origin", "allowed"), [("https://app.example", True), ("https://evil.example", False)])
def test_only_pages_of_the_origins_that_were_named_may_ask(shared: Server, origin: str, allowed: bool) -> None:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
    preflight = shared.client.options("/attention", headers={"Origin": origin} | asked)
    assert (preflight.headers.get("access-control-allow-origin") == origin) == allowed
    assert (preflight.status_code == 200) == allowed
    headers = {"Origin": origin, "Authorization": "Bearer key"}
    answer = shared.client.post(
        "/attention", json={"query": [[1.0]], "key": [[1.0]], "return": ["entropy"]}, headers=headers
    )
    assert answer.status_code == 200
    assert (answer.headers.get("access-control-allow-origin") == origin) == allowed
    assert "set-cookie" not in answer.headers


def test_without_origins_no_page_of_another_host_may_ask(client: httpx.Client) -> None:
    asked: dict[str, Any] = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}
    preflight = client.options("/attention", headers=asked)
    assert preflight.status_code == 405
    assert not [name for name in preflight.headers if name.startswith("access-control")]


@pytest.mark.parametrize("path", ["/", "/static/icon.svg", "/docs", "/health/live", "/losses", "/nowhere", "/metrics"])
def test_no_answer_lets_a_browser_guess_its_type(client: httpx.Client, path: str) -> None:
    assert client.get(path).headers.get_list("x-content-type-options") == ["nosniff"]
