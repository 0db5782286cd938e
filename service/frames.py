"""A response whose body is several buffers, sent as they are."""

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

Buffer = Any
"""Anything with the buffer protocol: bytes, a C-contiguous array, a frame of the link."""


_JOINED_BELOW_BYTES = 1 << 16
"""Copying so little costs less than another write."""


class Frames(Response):
    """Sends buffers one behind another, large ones without a copy; they must not change until they are sent."""

    def __init__(self, parts: Sequence[Buffer], media_type: str, headers: Mapping[str, str]) -> None:
        self.parts = [memoryview(part).cast("B") for part in parts]
        if len(parts) > 1 and sum(map(len, self.parts)) < _JOINED_BELOW_BYTES:
            self.parts = [memoryview(b"".join(self.parts))]
        self.status_code = 200
        self.background = None
        self.raw_headers = [
            (b"content-length", b"%d" % sum(map(len, self.parts))),
            (b"content-type", media_type.encode("latin-1")),
            *((name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the headers, then each buffer."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for part in self.parts[:-1]:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": self.parts[-1] if self.parts else b""})
