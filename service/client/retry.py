"""One call: its attempts, what is waited between them, and the deadline of all of them together.

Nothing here does input or output. A call is a generator that yields what is to be done, an `Attempt` or a `Pause`, and
is sent what came of it; `drive` has the two loops that do it, one blocking and one for an event loop.
"""

import random
from collections.abc import Generator
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from time import monotonic, time
from typing import Any, TypeVar

import httpx

from service.client.errors import ApiError, ConnectionFailed, Timeout, api_error

FIRST_BACKOFF_S = 0.25
LONGEST_BACKOFF_S = 8.0
LEAST_TIMEOUT_S = 0.05
"""The service refuses to be told less; what is left below it is kept to by the client alone."""

_RETRIED = (429, 502, 503)
_HOPELESS = (httpx.UnsupportedProtocol, httpx.LocalProtocolError)


@dataclass(frozen=True)
class Attempt:
    """A request to be sent now, and the seconds in which all of its answer must be here; None is no limit."""

    method: str
    path: str
    headers: dict[str, str]
    content: bytes
    timeout_s: float | None


@dataclass(frozen=True)
class Pause:
    """Seconds to wait."""

    seconds: float


@dataclass(frozen=True)
class Answer:
    """What came of an attempt; the content is decompressed."""

    status: int
    headers: httpx.Headers
    content: bytes
    reason: str = ""


T = TypeVar("T")
Steps = Generator[Attempt | Pause, Any, T]
"""A call in progress: an Attempt is sent an Answer or thrown httpx.RequestError, a Pause is sent None."""


@dataclass(frozen=True)
class Session:
    """What all calls of a client share: patience, and how arrays travel (None is by size)."""

    timeout_s: float | None
    retries: int
    binary: bool | None


@dataclass(frozen=True)
class Call:
    """A request before it is sent."""

    method: str
    path: str
    content: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


def send(session: Session, call: Call, *, retries: int | None = None) -> Steps[Answer]:
    """The answer to a call that succeeded in the end; requests are pure, so that sending one again is safe.

    Raises:
        ApiError: the last attempt was answered with an error, or the next would come after the deadline.
        ConnectionFailed: the last attempt was not answered.
        Timeout: the deadline passed.

    """
    deadline_s = None if session.timeout_s is None else monotonic() + session.timeout_s
    attempts = 1 + (session.retries if retries is None else retries)
    for number in range(attempts):
        left_s = None if deadline_s is None else deadline_s - monotonic()
        if left_s is not None and left_s <= 0:
            raise _timeout(session, call)
        try:
            answer = yield _attempt(call, left_s)
            if 200 <= answer.status < 300:
                return answer  # type: ignore[no-any-return]  # what a generator is sent has no type
            failure: ApiError | ConnectionFailed = _refusal(answer)
            if answer.status not in _RETRIED:
                raise failure
        except httpx.TimeoutException:
            raise _timeout(session, call) from None
        except httpx.RequestError as error:
            failure = ConnectionFailed(f"{call.path}: {error or type(error).__name__}")
            failure.__cause__ = error
            if isinstance(error, _HOPELESS):
                raise failure from error
        wait_s = _wait_s(failure, number)
        if number + 1 == attempts or (deadline_s is not None and monotonic() + wait_s >= deadline_s):
            raise failure
        yield Pause(wait_s)
    raise AssertionError("the last attempt returns or raises")


def _timeout(session: Session, call: Call) -> Timeout:
    within = "in time" if session.timeout_s is None else f"within {session.timeout_s:g} s"
    return Timeout(f"{call.path} was not answered {within}")


def _attempt(call: Call, left_s: float | None) -> Attempt:
    told = {} if left_s is None else {"X-Request-Timeout": f"{max(left_s, LEAST_TIMEOUT_S):.6f}"}
    return Attempt(call.method, call.path, call.headers | told, call.content, left_s)


def _refusal(answer: Answer) -> ApiError:
    return api_error(
        answer.status,
        answer.reason,
        answer.content,
        request_id=answer.headers.get("x-request-id"),
        retry_after_s=retry_after_s(answer.headers.get("retry-after")),
    )


def retry_after_s(header: str | None) -> float | None:
    """Seconds that a Retry-After header asks for, given as seconds or as a date; None if it says neither."""
    if header is None:
        return None
    if header.strip().isdecimal():
        return float(header)
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - time())
    except (ValueError, OverflowError):
        return None


def _wait_s(failure: ApiError | ConnectionFailed, number: int) -> float:
    asked_s = failure.retry_after_s if isinstance(failure, ApiError) else None
    if asked_s is not None:
        return asked_s
    return min(FIRST_BACKOFF_S * 2.0**number, LONGEST_BACKOFF_S) * random.uniform(0.5, 1.0)
