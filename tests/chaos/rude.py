"""Clients that go away at a moment of their own choice, or never finish what they began to say."""

import json
import random
import socket
import struct
import time
from collections.abc import Callable

from tests.chaos.jobs import encoded, tensors
from tests.chaos.wire import request_bytes

NOW = struct.pack("ii", 1, 0)
"""SO_LINGER of a client that resets its connection instead of closing it."""


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=30)


def leave(connection: socket.socket, draw: random.Random) -> None:
    """Close in order, or reset."""
    if draw.random() < 0.5:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NOW)
    connection.close()


def _job(n: int, returns: list[str]) -> bytes:
    fields = {name: encoded(array) for name, array in tensors(0, (n, 4)).items()}
    return request_bytes(json.dumps(fields | {"return": returns}).encode())


SHORT = _job(16, ["entropy"])
LONG = _job(4096, ["entropy"])
TALKATIVE = _job(512, ["weights"])
"""Its answer takes about 3 MB, more than the kernel buffers."""

HEAD_BYTES = SHORT.index(b"\r\n\r\n") + 4


def before_the_headers_end(port: int, draw: random.Random) -> None:
    with connected(port) as connection:
        connection.sendall(SHORT[: draw.randrange(HEAD_BYTES - 1)])
        leave(connection, draw)


def in_the_body(port: int, draw: random.Random) -> None:
    with connected(port) as connection:
        connection.sendall(LONG[: draw.randrange(HEAD_BYTES, len(LONG) - 1)])
        time.sleep(draw.uniform(0, 0.02))
        leave(connection, draw)


def right_after_the_body(port: int, draw: random.Random) -> None:
    with connected(port) as connection:
        connection.sendall(draw.choice((SHORT, LONG)))
        leave(connection, draw)


def while_it_is_computed(port: int, draw: random.Random) -> None:
    with connected(port) as connection:
        connection.sendall(LONG)
        time.sleep(draw.uniform(0, 0.1))
        leave(connection, draw)


def in_the_answer(port: int, draw: random.Random) -> None:
    with connected(port) as connection:
        connection.sendall(TALKATIVE)
        connection.recv(draw.randrange(1, 100_000))
        leave(connection, draw)


def slowly(port: int, draw: random.Random) -> None:
    """A few bytes at a time, and gone before the end."""
    with connected(port) as connection:
        for start in range(0, draw.randrange(len(SHORT) - 1), 40):
            connection.sendall(SHORT[start : start + 40])
            time.sleep(0.01)
        leave(connection, draw)


def half_a_body(port: int, draw: random.Random) -> None:
    """Half of what was announced, then silence until the server has had enough."""
    with connected(port) as connection:
        connection.sendall(SHORT[: HEAD_BYTES + 10])
        status = connection.recv(4096).split(b" ")[1]
        assert status in (b"408", b"429"), status


RUDE: dict[str, tuple[Callable[[int, random.Random], None], int]] = {
    "before the headers end": (before_the_headers_end, 300),
    "in the body": (in_the_body, 400),
    "right after the body": (right_after_the_body, 400),
    "while it is computed": (while_it_is_computed, 450),
    "in the answer": (in_the_answer, 250),
    "slowly": (slowly, 100),
    "half a body": (half_a_body, 100),
}
"""What they do, and how many of 2,000 do it."""
