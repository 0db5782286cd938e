"""The two loops that do what a call asks for: one blocks, the other awaits."""

from time import monotonic, sleep
from typing import TypeVar

import anyio
import httpx

from service.client.retry import Answer, Attempt, Steps

T = TypeVar("T")


def drive(steps: Steps[T], http: httpx.Client) -> T:
    """What the call returns, or raises."""
    try:
        step = next(steps)
        while True:
            if isinstance(step, Attempt):
                try:
                    answer = _send(step, http)
                except httpx.RequestError as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(answer)
            else:
                sleep(step.seconds)
                step = next(steps)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]  # StopIteration has no type for what a generator returns


async def drive_async(steps: Steps[T], http: httpx.AsyncClient) -> T:
    """What the call returns, or raises."""
    try:
        step = next(steps)
        while True:
            if isinstance(step, Attempt):
                try:
                    answer = await _send_async(step, http)
                except httpx.RequestError as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(answer)
            else:
                await anyio.sleep(step.seconds)
                step = next(steps)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]  # StopIteration has no type for what a generator returns


def _send(attempt: Attempt, http: httpx.Client) -> Answer:
    """The answer; httpx limits each read, so their sum is watched here."""
    began_s = monotonic()
    request = http.build_request(
        attempt.method, attempt.path, headers=attempt.headers, content=attempt.content, timeout=attempt.timeout_s
    )
    response = http.send(request, stream=True)
    try:
        parts = []
        for part in response.iter_bytes():
            parts.append(part)
            if attempt.timeout_s is not None and monotonic() - began_s > attempt.timeout_s:
                raise httpx.ReadTimeout("the answer came too slowly", request=request)
    finally:
        response.close()
    return _answer(response, parts)


async def _send_async(attempt: Attempt, http: httpx.AsyncClient) -> Answer:
    request = http.build_request(
        attempt.method, attempt.path, headers=attempt.headers, content=attempt.content, timeout=attempt.timeout_s
    )
    try:
        with anyio.fail_after(attempt.timeout_s):
            response = await http.send(request)
    except TimeoutError:
        raise httpx.ReadTimeout("the answer came too slowly", request=request) from None
    return _answer(response, [response.content])


def _answer(response: httpx.Response, parts: list[bytes]) -> Answer:
    content = parts[0] if len(parts) == 1 else b"".join(parts)
    return Answer(response.status_code, response.headers, content, response.reason_phrase)
