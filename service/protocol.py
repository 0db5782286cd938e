"""uvicorn's HTTP protocol, reading ahead: a body of ordinary size wakes the application once, not once per 64 KiB."""

import time
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

READ_AHEAD_BYTES = 1 << 20
"""A connection holds at most about this much of a body that the application has not asked for."""


def limited_protocol(max_header_bytes: int) -> type[HttpToolsProtocol]:
    """The protocol class; it ends a connection whose headers are far over the limit while they still arrive."""

    class ReadAheadProtocol(HttpToolsProtocol):
        """See the module."""

        _header_bytes = 0

        def on_message_begin(self) -> None:
            """Start to count the headers of a request."""
            self._header_bytes = 0
            super().on_message_begin()

        def on_header(self, name: bytes, value: bytes) -> None:
            """Count a header, and keep none that is over twice the limit: the application refuses at once."""
            self._header_bytes += len(name) + len(value) + 4
            if self._header_bytes <= 2 * max_header_bytes or not self.headers:
                super().on_header(name, value)
            else:
                self.headers[-1] = (b"x-too-large", b"x" * max_header_bytes)

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

    return ReadAheadProtocol
