"""What a body may hold besides tensors is bounded, since each of it becomes a Python object."""

import pytest

from service.codec import decode_json
from service.errors import Invalid


def test_an_object_of_very_many_fields_is_refused_before_they_are_looked_up() -> None:
    body = b"{" + b",".join(b'"k%d":1' % i for i in range(300)) + b"}"
    with pytest.raises(Invalid, match="at most 256 fields, came 300"):
        decode_json(body, {})


def test_lists_that_are_no_tensors_are_bounded_together() -> None:
    body = b'{"lengths": [' + b",".join([b"0"] * (1 << 16)) + b",0]}"
    with pytest.raises(Invalid, match="65536"):
        decode_json(body, {})
