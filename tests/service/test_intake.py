import asyncio
import gzip
import zlib
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from service.admission import JSON_MEMORY_FACTOR, Admission
from service.errors import BodyTooSlow, NotJson, NotUnderstood, TooLarge
from service.intake import check_headers, decompress, read_body
from service.ledger import Ledger
from service.settings import Settings

SMALL = Settings(max_body_bytes=1000, body_timeout_s=0.1)


def request(headers: Mapping[str, str], *chunks: bytes, stalls: bool = False) -> Request:
    waiting = list(chunks)

    async def receive() -> dict[str, Any]:
        if stalls and not waiting:
            await asyncio.sleep(30)
        chunk = waiting.pop(0) if waiting else b""
        return {"type": "http.request", "body": chunk, "more_body": bool(waiting) or stalls}

    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "POST", "path": "/loss", "headers": raw}, receive)


def body_of(incoming: Request, admission: Admission | None = None) -> bytes:
    with (admission or Admission(Ledger(), 1, 1 << 30)).reserve(0) as reservation:
        return asyncio.run(read_body(incoming, SMALL, reservation))


@given(st.lists(st.binary(max_size=200), max_size=4))
def test_a_gzip_body_of_any_number_of_members_is_their_concatenation(members: list[bytes]) -> None:
    assert decompress(b"".join(map(gzip.compress, members)), SMALL) == b"".join(members)


@given(st.binary(min_size=1, max_size=200), st.data())
def test_a_truncated_gzip_body_is_refused(content: bytes, data: st.DataObject) -> None:
    packed = gzip.compress(content)
    with pytest.raises(NotJson):
        decompress(packed[: data.draw(st.integers(1, len(packed) - 1))], SMALL)


@pytest.mark.parametrize("body", [b"{}", b"\x1f\x8b", zlib.compress(b"{}"), gzip.compress(b"{}") + b"{}"])
def test_a_body_that_is_no_gzip_is_refused(body: bytes) -> None:
    with pytest.raises(NotJson):
        decompress(body, SMALL)


def test_a_corrupted_gzip_body_is_refused() -> None:
    packed = bytearray(gzip.compress(b"{}" * 100))
    packed[-6] ^= 1
    with pytest.raises(NotJson):
        decompress(bytes(packed), SMALL)


@pytest.mark.parametrize("members", [[1000], [500, 500], [0, 1000, 0]])
def test_a_body_at_the_limit_after_decompression_is_accepted(members: list[int]) -> None:
    assert len(decompress(b"".join(gzip.compress(bytes(size)) for size in members), SMALL)) == 1000


@pytest.mark.parametrize("members", [[1001], [500, 501], [1 << 24], [1000, 1], [100] * 11])
def test_a_body_over_the_limit_after_decompression_is_too_large(members: list[int]) -> None:
    with pytest.raises(TooLarge, match="1000"):
        decompress(b"".join(gzip.compress(bytes(size)) for size in members), SMALL)


def test_deflate_is_zlib_and_has_the_same_limit() -> None:
    assert decompress(zlib.compress(bytes(1000)), SMALL, "deflate") == bytes(1000)
    with pytest.raises(TooLarge, match="1000"):
        decompress(zlib.compress(bytes(1001)), SMALL, "deflate")
    with pytest.raises(NotJson, match="cut off"):
        decompress(zlib.compress(bytes(1000))[:-1], SMALL, "deflate")


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8", "application/problem+json"])
def test_json_content_types_are_understood(kind: str) -> None:
    assert check_headers(request({"content-type": kind, "content-length": "7"}), SMALL) == 7


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "", "application/jsonp"])
def test_other_content_types_are_not_understood(kind: str) -> None:
    with pytest.raises(NotUnderstood):
        check_headers(request({"content-type": kind}), SMALL)


@pytest.mark.parametrize("coding", ["br", "compress", "gzip, gzip", "zstd"])
def test_other_encodings_than_gzip_and_deflate_are_not_understood(coding: str) -> None:
    with pytest.raises(NotUnderstood):
        check_headers(request({"content-encoding": coding}), SMALL)


def test_a_content_length_over_the_limit_is_too_large_before_the_body_is_read() -> None:
    assert check_headers(request({"content-length": "1000"}), SMALL) == 1000
    with pytest.raises(TooLarge, match=r"1001.*1000"):
        check_headers(request({"content-length": "1001"}), SMALL)


def test_a_body_without_a_length_is_expected_to_take_nothing_yet() -> None:
    assert check_headers(request({}), SMALL) == 0


def test_a_body_in_pieces_is_read_whole() -> None:
    assert body_of(request({}, b"{", b'"a"', b":1}")) == b'{"a":1}'


def test_a_body_that_grows_over_the_limit_is_too_large() -> None:
    with pytest.raises(TooLarge):
        body_of(request({}, bytes(600), bytes(600)))


def test_a_body_that_stalls_came_too_slowly() -> None:
    with pytest.raises(BodyTooSlow):
        body_of(request({}, b"{", stalls=True))


def test_a_gzip_body_is_decompressed() -> None:
    assert body_of(request({"content-encoding": "GZIP"}, gzip.compress(b"{}"))) == b"{}"


@pytest.mark.parametrize("coding", ["gzip", "identity"])
def test_room_is_reserved_for_the_body_as_it_is_decoded(coding: str) -> None:
    admission = Admission(Ledger(), 1, 1 << 30)
    content = bytes(500)
    sent = gzip.compress(content) if coding == "gzip" else content
    with admission.reserve(0) as reservation:
        asyncio.run(read_body(request({"content-encoding": coding}, sent), SMALL, reservation))
        assert admission.bytes == 500 * JSON_MEMORY_FACTOR
