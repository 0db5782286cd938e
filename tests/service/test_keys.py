import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import Unauthorized
from service.keys import ApiKeys
from service.settings import Settings

KEYS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters=","), min_size=1, max_size=40)


def passes(keys: ApiKeys, header: bytes) -> bool:
    try:
        keys.check("/attention", [(b"host", b"x"), (b"authorization", header)])
    except Unauthorized:
        return False
    return True


@given(st.lists(KEYS, min_size=1, max_size=5), KEYS)
def test_exactly_the_keys_that_were_given_pass(given_keys: list[str], other: str) -> None:
    keys = ApiKeys.of(Settings(api_keys=",".join(given_keys)))
    assert all(passes(keys, b"Bearer " + key.encode()) for key in given_keys)
    assert passes(keys, b"Bearer " + other.encode()) == (other in given_keys)


def test_every_key_is_compared_in_constant_time_wherever_the_right_one_is(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(given: bytes, known: bytes) -> bool:
        compared.append((given, known))
        return given == known

    monkeypatch.setattr("service.keys.hmac.compare_digest", compare)
    keys = ApiKeys(["first", "second", "third"])
    for key in ("first", "third", "none"):
        compared.clear()
        passes(keys, f"Bearer {key}".encode())
        assert [known for _, known in compared] == [hashlib.sha256(k).digest() for k in (b"first", b"second", b"third")]


def test_settings_do_not_show_their_keys() -> None:
    assert "correct-horse" not in repr(Settings(api_keys="correct-horse"))
