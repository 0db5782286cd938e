"""One request on its way through the service: the id that it is known by, and what is told of it afterwards."""

import re
import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING

from starlette.types import Message, Receive, Scope, Send

if TYPE_CHECKING:
    from service.traces.spans import RequestTrace

CLIENT_CLOSED = "client-closed"
"""Why a request failed whose client went away; no client sees it."""

_REQUEST_ID = re.compile(r"[\w.-]{1,128}", re.ASCII)
_CLOSE = (b"connection", b"close")
_NOSNIFF = (b"x-content-type-options", b"nosniff")


class Passage:
    """Counts the bytes of a request and its answer, and puts the headers on the answer that every answer has.

    Args:
        scope: of the request; carries the passage under "passage", for those further in.
        receive: gives parts of its body.
        send: takes parts of its answer.
        closes: whether the connection is to end with the answer that begins now.

    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, closes: Callable[[], bool] = lambda: False) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.request_id = _request_id(scope)
        self.route = "none"
        self.status = 0
        self.reason: str | None = None
        self.body_bytes = 0
        self.answer_bytes = 0
        self.closes = closes
        self.trace: RequestTrace | None = None
        self._began_s = time.monotonic()
        self._receive = receive
        self._send = send
        scope["passage"] = self

    @property
    def seconds(self) -> float:
        """Since the headers came."""
        return time.monotonic() - self._began_s

    @property
    def traceparent(self) -> str | None:
        """What a span of another process is to be put under, as in W3C Trace Context."""
        return None if self.trace is None else self.trace.traceparent

    async def receive(self) -> Message:
        """The next part of the body."""
        message = await self._receive()
        if body := message.get("body"):
            self.body_bytes += len(body)
        return message

    async def send(self, message: Message) -> None:
        """Send a part of the answer."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message["headers"], *self._own({name for name, _ in message["headers"]})]
        else:
            self.answer_bytes += len(message.get("body", b""))
        await self._send(message)

    def _own(self, given: set[bytes]) -> list[tuple[bytes, bytes]]:
        own = [(b"x-request-id", self.request_id.encode()), _NOSNIFF]
        if b"server-timing" not in given:
            own.append((b"server-timing", b"total;dur=%.3f" % (1e3 * self.seconds)))
        if self.closes() and b"connection" not in given:
            own.append(_CLOSE)
        return own


def is_request_id(given: str) -> bool:
    """Whether an id of a client's is one that is echoed."""
    return _REQUEST_ID.fullmatch(given) is not None


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            given = value.decode("latin-1")
            if is_request_id(given):
                return str(given)
    return uuid.uuid4().hex
