"""What a body may hold besides tensors is bounded, since each of it becomes a Python object."""

import pytest

from service.codec import MOST_ESCAPES, MOST_TOKENS, decode_json
from service.errors import Invalid, TooLarge


def test_an_object_of_very_many_fields_is_refused_before_they_are_looked_up() -> None:
    body = b"{" + b",".join(b'"k%d":1' % i for i in range(300)) + b"}"
    with pytest.raises(Invalid, match="at most 256 fields, came 300"):
        decode_json(body, {})


def test_lists_that_are_no_tensors_are_bounded_together() -> None:
    body = b'{"lengths": [' + b",".join([b"0"] * (1 << 16)) + b",0]}"
    with pytest.raises(Invalid, match="65536"):
        decode_json(body, {})


@pytest.mark.parametrize("unit", [b"0,", b"[0],", b"{},"])
def test_a_body_that_would_hold_the_interpreter_for_too_long_is_refused_unparsed(unit: bytes) -> None:
    body = b'{"query": [' + unit * (MOST_TOKENS // unit.count(b",")) + b"0]}"
    with pytest.raises(TooLarge, match=f"the limit is {MOST_TOKENS}; send base64"):
        decode_json(body, {"query": "float"})


def test_as_many_numbers_as_are_parsed_at_once_are_parsed() -> None:
    rows = MOST_TOKENS // 1024 - 1
    row = b"[" + b",".join([b"0"] * 1023) + b"]"
    body = b'{"query": [' + b",".join([row] * rows) + b"]}"
    assert decode_json(body, {"query": "float"})["query"].shape == (rows, 1023)


@pytest.mark.parametrize(("escapes", "refused"), [(MOST_ESCAPES, False), (MOST_ESCAPES + 1, True)])
def test_escapes_are_bounded_too(escapes: int, refused: bool) -> None:
    body = b'{"name": "' + rb"\/" * escapes + b'"}'
    if refused:
        with pytest.raises(TooLarge, match=f"{escapes} backslashes"):
            decode_json(body, {})
    else:
        assert decode_json(body, {})["name"] == "/" * escapes


@pytest.mark.parametrize("body", [b'{"a\\u0000b": 1, "a": 2}', b'{"inner": {"\\u0000": 1}}'])
def test_a_name_that_holds_a_nul_is_refused(body: bytes) -> None:
    with pytest.raises(Invalid, match="NUL"):
        decode_json(body, {})
