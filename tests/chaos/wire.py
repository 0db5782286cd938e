"""HTTP over a raw keep-alive socket: prebuilt bytes out, one answer in, and nothing retried behind one's back."""

import json
import socket
from collections.abc import Mapping
from types import TracebackType
from typing import Any, NamedTuple, Self

ANSWER_WITHIN_S = 90.0
"""Longer than the service's own deadline, so that it is the service that gives up."""


class Answer(NamedTuple):
    """One answer; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


class Closed(ConnectionError):
    """The server closed the connection before an answer was complete."""


def request_bytes(body: bytes, path: str = "/attention", headers: Mapping[str, str] | None = None) -> bytes:
    """A whole POST request."""
    own = {"Host": "127.0.0.1", "Content-Type": "application/json", "Content-Length": str(len(body))} | (headers or {})
    head = "".join(f"{name}: {value}\r\n" for name, value in own.items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body


def get_bytes(path: str) -> bytes:
    """A whole GET request."""
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()


class Wire:
    """One connection, one request at a time."""

    def __init__(self, port: int, timeout_s: float = ANSWER_WITHIN_S) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray()

    def ask(self, request: bytes) -> Answer:
        """The answer to a request."""
        self.socket.sendall(request)
        return self.receive()

    def receive(self) -> Answer:
        """The next answer."""
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            self._read()
        first, *lines = self._buffer[:end].decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        del self._buffer[: end + 4]
        if headers.get("transfer-encoding") == "chunked":
            return Answer(int(first.split()[1]), headers, self._chunks())
        return Answer(int(first.split()[1]), headers, self._take(int(headers.get("content-length", 0))))

    def _chunks(self) -> bytes:
        parts = []
        while size := int(self._line(), 16):
            parts.append(self._take(size))
            self._line()
        self._line()
        return b"".join(parts)

    def _line(self) -> bytes:
        while (end := self._buffer.find(b"\r\n")) < 0:
            self._read()
        return self._take(end + 2)[:-2]

    def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._read()
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    def _read(self) -> None:
        came = self.socket.recv(1 << 18)
        if not came:
            raise Closed("the server closed the connection")
        self._buffer += came

    def close(self) -> None:
        """End the connection."""
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
