"""A request's body, read within limits: refused before it is read where its headers say enough."""

import asyncio
import math
import time
import zlib
from collections.abc import Callable, Collection, Mapping

from starlette.requests import Request

from service.admission import JSON_MEMORY_FACTOR, STALLED_S, Reservation
from service.errors import BodyTooSlow, DeadlinePassed, Invalid, NotJson, NotUnderstood, TooLarge
from service.settings import Settings

_WINDOW_BITS = {"gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}
"""How zlib reads each coding."""

LEAST_TIMEOUT_S = 0.05
"""The least that a request may give the server."""

_MOST_GZIP_MEMBERS = 16
"""zlib copies what follows a member, so many small ones cost their square."""


def check_headers(request: Request, settings: Settings, media_types: Collection[str] = ()) -> int:
    """The number of bytes that the body is expected to take.

    Raises:
        NotUnderstood: a content type other than JSON and `media_types`, an encoding other than gzip and deflate.
        TooLarge: a Content-Length over the limit.

    """
    content_type = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    known = content_type == "application/json" or content_type.endswith("+json") or content_type in media_types
    if not known:
        expected = " or ".join(["application/json", *media_types])
        raise NotUnderstood(f"Expected Content-Type {expected}, came {content_type}.")
    if (coding := _coding(request)) not in ("identity", *_WINDOW_BITS):
        raise NotUnderstood(f"Expected Content-Encoding gzip, deflate or none, came {coding}.")
    length = request.headers.get("content-length")
    if length is None:
        return 0
    if int(length) > settings.max_body_bytes:
        raise TooLarge(_too_large(int(length), settings))
    return int(length)


def timeout_s(request: Request, settings: Settings) -> float:
    """Seconds in which the request must be answered: X-Request-Timeout, at most what the server allows.

    Raises Invalid if the header is no number, or so little that no answer could come in time.
    """
    given = request.headers.get("x-request-timeout")
    if given is None:
        return settings.deadline_s
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    if not seconds >= LEAST_TIMEOUT_S:
        expected = f"expected a number of seconds, at least {LEAST_TIMEOUT_S:g}"
        raise Invalid.field("X-Request-Timeout", f"{expected}, came {given[:64]!r}")
    return min(seconds, settings.deadline_s)


def _coding(request: Request) -> str:
    return request.headers.get("content-encoding", "identity").strip().lower()


def json_memory_bytes(headers: Mapping[str, str], size: int) -> int:
    """What a JSON body of so many bytes may take in memory while it is decoded."""
    return size * JSON_MEMORY_FACTOR


async def read_body(
    request: Request,
    settings: Settings,
    reservation: Reservation,
    deadline_s: float = math.inf,
    memory_bytes: Callable[[Mapping[str, str], int], int] = json_memory_bytes,
    lead_bytes: int = 0,
) -> bytes:
    """The body, decompressed, behind `lead_bytes` zeros.

    `memory_bytes` tells what a body of so many bytes may take while it is decoded.

    Raises:
        BodyTooSlow: it did not arrive in time, or stalled while others waited for its place.
        DeadlinePassed: it did not arrive before the request's own deadline.
        TooLarge: it is over the limit, as sent or after decompression.
        NotJson: broken gzip or deflate.

    """
    chunks: list[bytes] = []
    size = 0
    began_s = time.monotonic()
    reservation.last_came_s = lambda: request.scope.get("body_came_s", began_s)
    patience_s = min(settings.body_timeout_s, deadline_s - began_s)
    try:
        async with asyncio.timeout(patience_s) as patience:
            reservation.on_evict = lambda: patience.reschedule(0.0)
            async for chunk in request.stream():
                chunks.append(chunk)
                size += len(chunk)
                if size > settings.max_body_bytes:
                    raise TooLarge(_too_large(size, settings))
                if "content-length" not in request.headers:
                    reservation.resize(memory_bytes(request.headers, size))
    except TimeoutError:
        if reservation.on_evict is None:
            why = f"Nothing of the body came for {STALLED_S:g} s, and another request needed the place."
            raise BodyTooSlow(why) from None
        if patience_s < settings.body_timeout_s:
            raise DeadlinePassed("The body did not arrive before the deadline.") from None
        raise BodyTooSlow(f"The body did not arrive within {settings.body_timeout_s:g} s.") from None
    reservation.on_evict = None
    if (coding := _coding(request)) != "identity":
        chunks = [await asyncio.to_thread(decompress, b"".join(chunks), settings, coding)]
        reservation.resize(memory_bytes(request.headers, len(chunks[0])))
    return b"".join([bytes(lead_bytes), *chunks] if lead_bytes else chunks)


def decompress(body: bytes, settings: Settings, coding: str = "gzip") -> bytes:
    """The body decompressed from gzip or deflate (zlib's, RFC 9110), never holding more than the limit."""
    parts: list[bytes] = []
    size, rest = 0, body
    while rest:
        if len(parts) == _MOST_GZIP_MEMBERS:
            raise NotJson(f"The {coding} body has more than {_MOST_GZIP_MEMBERS} members.")
        member = zlib.decompressobj(wbits=_WINDOW_BITS[coding])
        try:
            part = member.decompress(rest, settings.max_body_bytes - size + 1)
        except zlib.error as error:
            raise NotJson(f"The body is not {coding}: {error}.") from None
        size += len(part)
        if size > settings.max_body_bytes:
            raise TooLarge(
                f"The body decompresses to more than {settings.max_body_bytes} bytes, the limit; send fewer tensors."
            )
        if not member.eof:
            raise NotJson(f"The {coding} body is cut off.")
        parts.append(part)
        rest = member.unused_data
    return b"".join(parts)


def _too_large(size: int, settings: Settings) -> str:
    return (
        f"The body takes {size} bytes or more, the limit is {settings.max_body_bytes}; "
        "send base64 tensors, gzip, or fewer of them."
    )
