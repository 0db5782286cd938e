"""Logs of a real server: lines that machines read, with ids and sizes, never with what was sent."""

import contextlib
import json
import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.serving import GOOD, ROOT, Server

SECRET = "zanzibar 8.2512734"


def lines(server: Server) -> list[dict[str, Any]]:
    return [json.loads(line) for line in server.log.read_text().splitlines()]


def told(server: Server, **expected: Any) -> dict[str, Any]:
    """The first line with these fields, which may take a moment to come."""
    give_up_s = time.monotonic() + 5
    while True:
        found = [line for line in lines(server) if expected.items() <= line.items()]
        if found:
            return found[0]
        assert time.monotonic() < give_up_s, server.log.read_text()
        time.sleep(0.05)


def test_every_line_is_an_object_with_a_time_a_level_and_an_event(start_server: Callable[..., Server]) -> None:
    server = start_server(models="default", log_requests="all")
    with server.send_raw(b"\x00 not HTTP \r\n\r\n") as connection:
        connection.recv(100)
    server.post("/loss", {"text": "I love programming"})
    assert server.terminate() == 0
    for line in lines(server):
        assert {"timestamp", "level", "event"} <= line.keys()
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", line["timestamp"])


def test_a_request_is_told_by_its_id_with_sizes_and_without_what_was_sent(start_server: Callable[..., Server]) -> None:
    server = start_server(models="default", log_requests="all", log_level="info")
    number = float(SECRET.split()[1])
    query = [[number, 1.0], [0.0, number]]
    server.post("/attention?note=zanzibar", GOOD | {"query": query}, headers={"X-Request-ID": "mine-1"})
    server.post("/loss", {"text": SECRET}, headers={"X-Request-ID": "mine-2"})
    assert server.client.post("/loss", json={"text": SECRET, "zanzibar": 1}).status_code == 422
    assert server.client.post("/loss", content=SECRET).status_code in (400, 415)
    assert server.client.get("/zanzibar").status_code == 404
    request = told(server, event="request", request_id="mine-1")
    assert request["route"] == "/attention"
    assert (request["method"], request["status"], request["level"]) == ("POST", 200, "info")
    assert request["body_bytes"] > 0 < request["answer_bytes"]
    assert 0 < request["seconds"] < 10
    assert told(server, event="request", request_id="mine-2")["route"] == "/loss"
    assert told(server, status=422)["reason"] == "invalid"
    log = server.log.read_text()
    assert "zanzibar" not in log
    assert str(number) not in log


def test_by_default_only_failures_of_the_server_are_told(start_server: Callable[..., Server]) -> None:
    server = start_server(deadline_s=0.3, models="")
    assert server.client.post("/attention", json={}).status_code == 422
    server.is_right()
    large = {"query": [[0.1] * 64] * 20000, "key": [[0.1] * 64] * 20000, "return": ["entropy", "received"]}
    answer = server.client.post("/attention", json=large, headers={"X-Request-ID": "late"})
    assert answer.status_code == 504
    assert told(server, event="request", request_id="late")["reason"] == "deadline-passed"
    assert {line["status"] for line in lines(server) if line["event"] == "request"} <= {503, 504}  # 503 at the start


def test_on_a_terminal_the_lines_are_for_people() -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "service.cli", "serve", "--port", "0", "--models", ""]
    shown = b""
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stderr=theirs, stdout=theirs) as process:
        os.close(theirs)
        with contextlib.suppress(OSError):  # the terminal has no other end any more
            while part := os.read(ours, 4096):
                if b"serving" not in shown and b"serving" in shown + part:
                    process.terminate()
                shown += part
    os.close(ours)
    assert process.returncode == 0, shown.decode()
    assert not shown.lstrip().startswith(b"{")
    assert b"info" in shown


@pytest.mark.parametrize(("log_format", "opens"), [("json", "{"), ("text", "20")])
def test_the_form_can_be_chosen(start_server: Callable[..., Server], log_format: str, opens: str) -> None:
    server = start_server(log_format=log_format, models="", wait=False)
    assert server.log.read_text().startswith(opens)
