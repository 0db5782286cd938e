"""Bodies that no honest client sends. Each must end in a 4xx."""

import base64
import gzip
import json
import zlib
from collections.abc import Iterator
from typing import Any

from tests.chaos.wire import request_bytes

BODY_LIMIT = 64 << 20
GOOD_TENSOR = [[1.0, 0.0], [0.0, 1.0]]


def hostile_requests() -> Iterator[tuple[str, bytes]]:
    """A name and a whole request each; made one by one, since some are large."""
    yield from (("nested " + name, request_bytes(body)) for name, body in _nested(5_000))
    yield from _lists_at_the_limit()
    yield from ((name, request_bytes(body, headers={"Content-Encoding": "gzip"})) for name, body in _bombs())
    yield from ((name, _query(tensor)) for name, tensor in _false_tensors())
    yield from _false_framing()


def _nested(depth: int) -> list[tuple[str, bytes]]:
    tail = b', "key": [[1.0]]}'
    return [
        ("lists", b"[" * depth + b"]" * depth),
        ("lists in a tensor", b'{"query": ' + b"[" * depth + b"1" + b"]" * depth + tail),
        ("lists in a mask", b'{"query": [[1.0]], "mask": ' + b"[" * depth + b"true" + b"]" * depth + tail),
        ("objects", b'{"query": ' * depth + b"1" + b"}" * depth),
        ("objects in a loss", b'{"losses": ' + b'[{"name":' * depth + b"1" + b"}]" * depth + b"}"),
    ]


def _lists_at_the_limit() -> Iterator[tuple[str, bytes]]:
    for name, opening, unit, closing in (
        ("zeros", b'{"query": [', b"0,", b'0], "key": [[1.0]]}'),
        ("zeros where lengths are expected", b'{"key_lengths": [', b"0,", b"0]}"),
        ("zeros in an unknown field", b'{"nothing": [', b"0,", b"0]}"),
        ("rows of one", b'{"query": [', b"[0],", b'[0]], "key": [[1.0, 2.0]]}'),
        ("rows of one, the last of two", b'{"query": [', b"[0],", b'[0,0]], "key": [[1.0]]}'),
        ("rows of one boolean", b'{"query": [[1.0]], "key": [[1.0]], "mask": [', b"[true],", b"[1]]}"),
        ("empty objects", b'{"losses": [', b"{},", b"{}]}"),
        ("fields", b'{"query": [[1.0]], ', b'"a":0,', b'"b":0}'),
        ("spaces", b"{", b" ", b'"query" 1}'),
        ("one string", b'{"query": "', b"x", b'"}'),
        ("escaped quotes", b'{"query": "', rb"\"", b'"}'),
        ("a long integer", b'{"query": [[', b"9", b"]]}"),
    ):
        repeats = (BODY_LIMIT - len(opening) - len(closing)) // len(unit)
        yield f"64 MiB: {name}", request_bytes(opening + unit * repeats + closing)


def _bombs() -> Iterator[tuple[str, bytes]]:
    # Not gzip.compress: its one call takes a second for what zlib's fastest level does in a tenth of it.
    pack = zlib.compressobj(1, wbits=zlib.MAX_WBITS | 16)
    bomb = b"".join([*(pack.compress(bytes(1 << 20)) for _ in range(1024)), pack.flush()])
    yield "gzip: 1 GiB of zeros", bomb
    yield "gzip of gzip: 1 GiB of zeros", gzip.compress(bomb)
    yield "gzip: members of 1 MiB", gzip.compress(b" " * (1 << 20)) * 80
    yield "gzip: a million members", gzip.compress(b"") * 1_000_000
    yield "gzip: 64 MiB of zeros in a list", gzip.compress(b'{"query": [' + b"0," * (BODY_LIMIT // 2 - 16) + b"0]}", 1)
    yield "gzip: cut off", bomb[: len(bomb) // 2]
    yield "gzip: none", b"x" * 1000


def _false_tensors() -> Iterator[tuple[str, Any]]:
    some = base64.b64encode(bytes(16)).decode()
    for name, shape, data in (
        ("overflows", [2**40, 2**40], some),
        ("overflows to 0", [2**32, 2**32], ""),
        ("overflows to 4", [2**62 + 1, 4], some),
        ("negative", [-2, -2], some),
        ("beyond 64 bits", [2**70], some),
        ("too short", [2, 3], some),
        ("too long", [1, 1], some),
        ("no multiple of 4", [2, 2], some[:-1]),
        ("not base64", [2, 2], "!" * len(some)),
        ("many dimensions", [1] * 10_000, some),
    ):
        yield f"base64: {name}", {"shape": shape, "dtype": "float32", "base64": data}


def _query(tensor: Any) -> bytes:
    return request_bytes(json.dumps({"query": tensor, "key": GOOD_TENSOR, "return": ["entropy"]}).encode())


def _false_framing() -> Iterator[tuple[str, bytes]]:
    for length in ("-1", "+5", "1e3", "0x10", "99999999999999999999999999", "5, 6"):
        yield f"Content-Length: {length}", request_bytes(b"12345", headers={"Content-Length": length})
    chunked = b"POST /attention HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    for name, chunks in (
        ("no number", b"zz\r\nhello\r\n0\r\n\r\n"),
        ("negative", b"-5\r\nhello\r\n0\r\n\r\n"),
        ("beyond 64 bits", b"fffffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
        ("longer than said", b"2\r\nhello\r\n0\r\n\r\n"),
    ):
        yield f"chunked: {name}", chunked + chunks
    yield "garbage", bytes(range(256)) * 4 + b"\r\n\r\n"
