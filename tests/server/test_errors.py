"""What is refused before its fields are looked at: JSON, gzip, paths, methods, types (design section 4.3)."""

import gzip
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.chaos.faulty_worker import RAISE
from tests.serving import Server

Refused = Callable[..., None]


@pytest.fixture(autouse=True)
def _the_server_answers_afterwards(server: Any) -> Iterator[None]:
    yield
    server.is_right()


@pytest.mark.parametrize("path", ["/attention", "/loss"])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b'{"query": [[1, 2]], "key": [[1, 2]]',
        b'{"query": [[1, 2]], "key": [[1, 2]],}',
        b'{"query": [[NaN]], "key": [[1]]}',
        b'{"query": [[Infinity]], "key": [[1]]}',
        b'{"query": [[-Infinity]], "key": [[1]]}',
        b'{"query": [[1e999]], "key": [[1]]}',
        b'{"query": [[01]], "key": [[1]]}',
        b'{"query": [[1]], "key": [[1]]} {}',
        b"{'query': [[1]]}",
        b'{"query": "\xff"}',
        b"\x00\x01\x02",
        b"\xff\xfe{\x00}\x00",
        pytest.param(b'{"query": ' + b"[" * 5000 + b"1" + b"]" * 5000 + b"}", id="5000 deep"),
        pytest.param(b'{"query": ' + b"[" * 100 + b"1" + b"]" * 100 + b"}", id="100 deep"),
        pytest.param(b'{"nobody": ' + b'{"a":' * 100 + b"1" + b"}" * 101, id="100 objects deep"),
        pytest.param(b'{"query": [[' + b"9" * 400 + b']], "key": [[1]]}', id="400 digits"),
    ],
)
def test_400_for_what_is_not_json(client: httpx.Client, refused: Refused, path: str, body: bytes) -> None:
    refused(client.post(path, content=body, headers={"content-type": "application/json"}), 400)


@pytest.mark.parametrize(
    "body",
    [b"not gzip", gzip.compress(b"{}" * 99)[:-9], gzip.compress(b"{}") + b"rest", b"", gzip.compress(b"{")],
    ids=["plain", "cut off", "with a tail", "empty", "of no JSON"],
)
def test_400_for_broken_gzip(client: httpx.Client, refused: Refused, body: bytes) -> None:
    refused(client.post("/attention", content=body, headers={"content-encoding": "gzip"}), 400)


@pytest.mark.parametrize("path", ["/nowhere", "/attention/x", "/v3", "//attention"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_404_for_an_unknown_path(client: httpx.Client, refused: Refused, method: str, path: str) -> None:
    refused(client.request(method, f"{client.base_url}{path}"), 404)


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/attention"), ("PUT", "/attention"), ("DELETE", "/loss"), ("POST", "/losses"), ("POST", "/health/live")],
)
def test_405_for_a_method_that_a_path_does_not_take(
    client: httpx.Client, refused: Refused, method: str, path: str
) -> None:
    answer = client.request(method, path)
    refused(answer, 405, method, path)
    assert answer.headers["allow"] in ("GET", "POST")


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "multipart/form-data; boundary=x"},
        {"content-encoding": "br"},
        {"content-encoding": "gzip, gzip"},
    ],
    ids=lambda headers: str(*headers.values()),
)
def test_415_for_types_and_codings_not_understood(
    client: httpx.Client, refused: Refused, headers: dict[str, str]
) -> None:
    answer = client.post("/attention", content=b"{}", headers={"content-type": "application/json"} | headers)
    refused(answer, 415, next(iter(headers.values())).partition(";")[0])


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "APPLICATION/JSON", "application/a+json"])
def test_json_is_understood_by_other_names(client: httpx.Client, content_type: str) -> None:
    body = b'{"query": [[1]], "key": [[1]], "value": [[1]]}'
    client.post("/attention", content=body, headers={"content-type": content_type}).raise_for_status()


def test_404_for_a_path_with_a_slash_too_many(server: Any) -> None:
    assert server.client.post("/attention/", json={}).status_code == 404


def test_500_tells_nothing_of_its_cause(start_server: Callable[..., Server]) -> None:
    server = start_server(["tests.chaos.faulty_serve"], port=0)
    body = {"query": [[RAISE, 1.0]], "key": [[1.0, 1.0]], "return": ["entropy"]}
    answer = server.client.post("/attention", json=body, headers={"X-Request-ID": "mine"})
    assert answer.status_code == 500
    assert answer.json() == {
        "type": "urn:attnloss:problem:compute-failed",
        "title": "Computation failed",
        "status": 500,
        "detail": "The computation failed; the cause is in the server's log.",
        "request_id": "mine",
    }
    (line,) = [line for line in server.log.read_text().splitlines() if "told to fail" in line]
    assert '"request_id":"mine"' in line
