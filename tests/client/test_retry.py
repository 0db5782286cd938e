"""Retries within a deadline, by a clock that only pauses move."""

import time
from email.utils import formatdate
from typing import Any

import anyio
import httpx
import pytest

from service.client import (
    ApiError,
    BadAnswer,
    ConnectionFailed,
    DeadlineExceeded,
    NotFound,
    Overloaded,
    ServerError,
    Timeout,
    Unauthorized,
    Unavailable,
)

GOOD = httpx.Response(200, json={"models": [{"name": "m"}]})
REFUSED = httpx.ConnectError("connection refused")


def problem(status: int, **headers: str) -> httpx.Response:
    document = {"type": "urn:x", "title": "No", "status": status, "detail": "why not", "request_id": "r1"}
    own = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(status, json=document, headers={"content-type": "application/problem+json"} | own)


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_honoured(make_client: Any, script: Any, clock: Any, status: int) -> None:
    answers = script(problem(status, retry_after="7"), GOOD)
    assert make_client(transport=answers.transport()).models() == [{"name": "m"}]
    assert clock.pauses_s == [7.0]


def test_retry_after_may_be_a_date(make_client: Any, script: Any, clock: Any) -> None:
    answers = script(problem(503, retry_after=formatdate(clock.now_s + 9, usegmt=True)), GOOD)
    make_client(transport=answers.transport()).models()
    assert clock.pauses_s == [9.0]


def test_without_retry_after_each_pause_is_about_twice_the_one_before(
    make_client: Any, script: Any, clock: Any
) -> None:
    answers = script(problem(503), REFUSED, problem(502, retry_after="soon"), GOOD)
    make_client(transport=answers.transport()).models()
    assert len(clock.pauses_s) == 3
    for pause_s, longest_s in zip(clock.pauses_s, (0.25, 0.5, 1.0), strict=True):
        assert longest_s / 2 <= pause_s <= longest_s


def test_a_retry_that_would_come_after_the_deadline_is_not_waited_for(
    make_client: Any, script: Any, clock: Any
) -> None:
    answers = script(problem(429, retry_after="5"), problem(429, retry_after="6"), GOOD)
    with pytest.raises(Overloaded) as refused:
        make_client(transport=answers.transport(), timeout_s=10).models()
    assert clock.pauses_s == [5.0]
    assert refused.value.retry_after_s == 6.0


def test_each_attempt_tells_the_server_what_time_is_left(make_client: Any, script: Any, clock: Any) -> None:
    answers = script(problem(429, retry_after="4"), GOOD)
    make_client(transport=answers.transport(), timeout_s=10).models()
    assert [float(request.headers["x-request-timeout"]) for request in answers.requests] == [10.0, 6.0]
    assert [request.extensions["timeout"]["read"] for request in answers.requests] == [10.0, 6.0]


def test_the_server_is_told_no_less_than_it_takes(make_client: Any, script: Any, clock: Any) -> None:
    answers = script(GOOD)
    make_client(transport=answers.transport(), timeout_s=0.01).models()
    assert float(answers.requests[0].headers["x-request-timeout"]) == pytest.approx(0.05)
    assert answers.requests[0].extensions["timeout"]["read"] == pytest.approx(0.01)


def test_no_timeout_sends_no_deadline(make_client: Any, script: Any, clock: Any) -> None:
    answers = script(problem(429, retry_after="4000"), GOOD)
    make_client(transport=answers.transport(), timeout_s=None).models()
    assert "x-request-timeout" not in answers.requests[0].headers


@pytest.mark.parametrize(
    "error", [REFUSED, httpx.ReadError("reset"), httpx.RemoteProtocolError("closed"), httpx.WriteError("")]
)
def test_a_broken_connection_is_tried_again(make_client: Any, script: Any, clock: Any, error: Exception) -> None:
    answers = script(error, error, GOOD)
    assert make_client(transport=answers.transport()).models() == [{"name": "m"}]
    with pytest.raises(ConnectionFailed, match="/models: "):
        make_client(transport=script(error).transport(), retries=2).models()
    assert len(clock.pauses_s) == 4


def test_an_attempt_that_outlasts_the_deadline_is_a_timeout(make_client: Any, script: Any, clock: Any) -> None:
    with pytest.raises(Timeout, match="not answered within 3 s"):
        make_client(transport=script(httpx.ReadTimeout("slow")).transport(), timeout_s=3).models()
    assert clock.pauses_s == []


def test_an_answer_that_trickles_is_bounded_by_the_deadline(make_client: Any, script: Any) -> None:

    class Trickle(httpx.SyncByteStream, httpx.AsyncByteStream):
        def __iter__(self) -> Any:
            for _ in range(300):
                time.sleep(0.01)
                yield b" "

        async def __aiter__(self) -> Any:
            for _ in range(300):
                await anyio.sleep(0.01)
                yield b" "

    transport = httpx.MockTransport(lambda request: httpx.Response(200, stream=Trickle()))
    with pytest.raises(Timeout):
        make_client(transport=transport, timeout_s=0.1).models()


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, Unauthorized),
        (404, NotFound),
        (422, ApiError),
        (413, ApiError),
        (500, ServerError),
        (504, DeadlineExceeded),
    ],
)
def test_what_would_fail_again_is_not_tried_again(
    make_client: Any, script: Any, clock: Any, status: int, kind: type[ApiError]
) -> None:
    answers = script(problem(status))
    with pytest.raises(kind, match=f"^{status}: why not \\(request r1\\)$") as refused:
        make_client(transport=answers.transport()).models()
    assert len(answers.requests) == 1
    assert refused.value.problem["title"] == "No"


def test_retries_end(make_client: Any, script: Any, clock: Any) -> None:
    answers = script(problem(503, retry_after="1"))
    with pytest.raises(Unavailable):
        make_client(transport=answers.transport(), retries=2).models()
    assert len(answers.requests) == 3


def test_a_probe_is_sent_once(make_client: Any, script: Any, clock: Any) -> None:
    answers = script(problem(503, retry_after="1"))
    assert make_client(transport=answers.transport()).ready() is False
    assert len(answers.requests) == 1


def test_an_address_that_no_attempt_can_reach_is_tried_once(make_client: Any, clock: Any) -> None:
    with pytest.raises(ConnectionFailed):
        make_client("ftp://127.0.0.1").models()
    assert clock.pauses_s == []


def test_an_error_that_is_no_problem_document_still_has_status_and_detail(make_client: Any, script: Any) -> None:
    page = httpx.Response(403, html="<h1>Forbidden</h1>", headers={"x-request-id": "r2"})
    with pytest.raises(ApiError, match=r"^403: Forbidden \(request r2\)$") as refused:
        make_client(transport=script(page).transport()).models()
    assert refused.value.problem == {"status": 403, "detail": "Forbidden"}
    assert refused.value.errors == []


def test_an_error_of_the_protocol_tells_its_detail(make_client: Any, script: Any) -> None:
    answers = script(httpx.Response(422, json={"error": "QUERY: ragged"}))
    with pytest.raises(ApiError, match=r"^422: QUERY: ragged$") as refused:
        make_client(transport=answers.transport(), binary=True).attention([[1.0]], [[1.0]])
    assert refused.value.problem == {"status": 422, "detail": "QUERY: ragged"}


@pytest.mark.parametrize("content", [b"<h1>Welcome</h1>", b"{}", b"[]", b"null"])
def test_an_answer_of_another_server_is_told_from_ours(make_client: Any, script: Any, content: bytes) -> None:
    client = make_client(transport=script(httpx.Response(200, content=content)).transport())
    with pytest.raises(BadAnswer, match="not this service's"):
        client.models()
    for binary in (True, False):
        client = make_client(transport=script(httpx.Response(200, content=content)).transport(), binary=binary)
        with pytest.raises(BadAnswer, match="not this service's"):
            client.loss([[1.0]], [[1.0]], losses=[{"name": "entropy"}])


def test_the_api_key_is_a_bearer_token(make_client: Any, script: Any) -> None:
    answers = script(GOOD)
    make_client(transport=answers.transport(), api_key="secret").models()
    assert answers.requests[0].headers["authorization"] == "Bearer secret"
