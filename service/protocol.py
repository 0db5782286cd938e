"""uvicorn's HTTP protocol with bounds of its own: on connections, and on the size and the time of headers.

It also reads ahead: a body of ordinary size wakes the application once, not once per 64 KiB.
"""

import asyncio
import time
import uuid
from typing import Any, Protocol

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from service.envelope import error_response
from service.errors import HeadersTooSlow, NotHttp, ServiceError, TooManyConnections
from service.settings import Settings

READ_AHEAD_BYTES = 1 << 20
"""A connection holds at most about this much of a body that the application has not asked for."""

_LINGER_S = 1.0
"""How long a connection that is refused may still send, which nobody reads."""


class Door(Protocol):
    """What is told of connections, and of requests that end before there is one."""

    def opened(self) -> int:
        """A connection more; how many there are, over all API processes."""

    def closed(self) -> None:
        """A connection less."""

    def refused(self, error: ServiceError) -> None:
        """A connection was ended with this error."""


def bounded_protocol(settings: Settings, door: Door) -> type[HttpToolsProtocol]:
    """The protocol class of one API process of a service.

    A connection over `max_connections` is answered with 503 and closed. Headers that are far over their limit are not
    kept while they still arrive.
    """
    max_header_bytes = settings.max_header_bytes

    class BoundedProtocol(HttpToolsProtocol):
        """See the module."""

        _header_bytes = 0
        _begun = False
        _headers_due: asyncio.TimerHandle | None = None
        _refused = False

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
            """Take a connection, unless there are too many."""
            super().connection_made(transport)
            if door.opened() > settings.max_connections:
                why = f"All {settings.max_connections} connections of this server are taken."
                self._end_with(TooManyConnections(why, retry_after_s=1))
            else:
                self._expect_headers()

        def connection_lost(self, exc: Exception | None) -> None:
            """Forget the connection."""
            door.closed()
            self._headers_came()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            """Take in what came; a line end before a request must not keep the connection for ever."""
            if self._refused:
                return
            super().data_received(data)
            idle = self.cycle is None or self.cycle.response_complete
            if idle and self.timeout_keep_alive_task is None and not self.transport.is_closing():
                self._expect_headers()

        def send_400_response(self, msg: str) -> None:
            """Refuse what is not HTTP, unless that would be taken for the answer to a whole request before it."""
            answering = self._is_answering()
            if answering:
                self.cycle.disconnected = True
                self.cycle.message_event.set()
            if answering and (self.cycle.response_started or not self.cycle.more_body):
                self.transport.abort()
            else:
                self._end_with(NotHttp("The request is not HTTP/1.1."))

        def on_message_begin(self) -> None:
            """Start to count the headers of a request, and the time that they take."""
            self._header_bytes, self._begun = 0, True
            self._expect_headers()
            super().on_message_begin()

        def on_header(self, name: bytes, value: bytes) -> None:
            """Count a header, and keep none that is over twice the limit: the application refuses at once.

            What comes behind a body in chunks is no header.
            """
            if not self._begun:
                return
            self._header_bytes += len(name) + len(value) + 4
            if self._header_bytes <= 2 * max_header_bytes or not self.headers:
                super().on_header(name, value)
            else:
                self.headers[-1] = (b"x-too-large", b"x" * max_header_bytes)

        def on_headers_complete(self) -> None:
            """The headers are here."""
            self._begun = False
            self._headers_came()
            super().on_headers_complete()

        def on_body(self, body: bytes) -> None:
            """Keep a part of the body; the end of the message wakes the application, or a full buffer."""
            cycle: Any = self.cycle
            if cycle.response_complete:
                return
            cycle.body += body
            cycle.scope["body_came_s"] = time.monotonic()
            if len(cycle.body) > READ_AHEAD_BYTES:
                self.flow.pause_reading()
                cycle.message_event.set()

        def _unsupported_upgrade_warning(self) -> None:
            """An offer of another protocol, such as h2c, is not taken, and nothing to warn of."""

        def _is_answering(self) -> bool:
            return self.cycle is not None and not self.cycle.response_complete

        def _expect_headers(self) -> None:
            if self._headers_due is None:
                self._headers_due = self.loop.call_later(settings.header_timeout_s, self._headers_too_slow)

        def _headers_came(self) -> None:
            if self._headers_due is not None:
                self._headers_due.cancel()
                self._headers_due = None

        def _headers_too_slow(self) -> None:
            self._headers_due = None
            if self._is_answering():  # to a request before: while it waits, nothing further is read
                self._expect_headers()
            elif self._begun:
                why = f"The headers did not arrive within {settings.header_timeout_s:g} s."
                self._end_with(HeadersTooSlow(why))
            else:
                self.transport.close()

        def _end_with(self, error: ServiceError) -> None:
            """Answer with the problem, past the application, and close."""
            if self.transport.is_closing():
                return
            door.refused(error)
            request_id = uuid.uuid4().hex
            headers = {"x-request-id": request_id, "connection": "close"}
            headers |= {"x-content-type-options": "nosniff", "server-timing": "total;dur=0"}
            response = error_response("", error, request_id, headers)
            head = b"".join(b"%s: %s\r\n" % header for header in response.raw_headers)
            self.transport.write(b"%s%s\r\n%s" % (STATUS_LINE[error.status], head, response.body))
            self._refused = True
            self.connections.discard(self)
            self._headers_came()
            if self.transport.can_write_eof():
                self.transport.write_eof()  # a close with something unread would reset what was just written
            self.loop.call_later(_LINGER_S, self.transport.abort)

    return BoundedProtocol
