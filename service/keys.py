"""API keys: who may ask what. Keys come from the settings or from a file; what is kept are their digests."""

import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from typing import Self

from service.errors import Unauthorized
from service.settings import Settings

PROBES = ("/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready")
OPEN_PATHS = frozenset({"/", *PROBES})
"""Probes and the page, which asks for a key itself."""

_OPEN_BELOW = "/static/"
_METRICS = "/metrics"

_KEY = re.compile(r"[\x21-\x7e]+")


class ApiKeys:
    """The keys of a service; without any, everybody may ask everything.

    Args:
        keys: each of printable ASCII.
        metrics: whether GET /metrics needs one as well.

    Raises:
        ValueError: a key has other characters; says which one by its place, not by its text.

    """

    def __init__(self, keys: Iterable[str], *, metrics: bool = False) -> None:
        given = list(keys)
        for place, key in enumerate(given, 1):
            if not _KEY.fullmatch(key):
                raise ValueError(f"API key {place} of {len(given)}: expected printable ASCII without spaces")
        self._digests = tuple(_digest(key.encode()) for key in given)
        self._open = OPEN_PATHS if metrics else OPEN_PATHS | {_METRICS}

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The keys of `configured_keys`; raises what it raises, and ValueError for one that no client could send."""
        return cls(configured_keys(settings), metrics=settings.metrics_key_required)

    def __len__(self) -> int:
        return len(self._digests)

    def check(self, path: str, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """Raise Unauthorized unless the path is open or the headers carry one of the keys."""
        if not self._digests or path in self._open or path.startswith(_OPEN_BELOW):
            return
        given = [value for name, value in headers if name == b"authorization"]
        if not given:
            raise Unauthorized("An API key is needed: send Authorization: Bearer KEY.")
        scheme, _, key = given[0].partition(b" ")
        if len(given) > 1 or scheme.lower() != b"bearer":
            raise Unauthorized("Expected one header Authorization: Bearer KEY, of the scheme Bearer.")
        if not self._knows(key.strip()):
            raise Unauthorized("The API key is none of those that this server knows.")

    def _knows(self, key: bytes) -> bool:
        """Compared with all keys, by digests of one length: the time tells neither a key's text nor its place."""
        digest, found = _digest(key), False
        for known in self._digests:
            found |= hmac.compare_digest(digest, known)
        return found


def configured_keys(settings: Settings) -> list[str]:
    """The keys of `api_keys` and of `api_keys_file` together.

    Raises:
        OSError: the file cannot be read.
        ValueError: a setting is given and names no key, or a key is required where there is none.

    """
    given: list[str] = []
    if settings.api_keys is not None:
        given += _listed(settings.api_keys, "ATTNLOSS_API_KEYS")
    if settings.api_keys_file is not None:
        given += _listed(settings.api_keys_file.read_text(), f"ATTNLOSS_API_KEYS_FILE {settings.api_keys_file}")
    if settings.metrics_key_required and not given:
        raise ValueError("ATTNLOSS_METRICS_KEY_REQUIRED is set and there is no key: set ATTNLOSS_API_KEYS too")
    return given


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def _listed(text: str, where: str) -> list[str]:
    keys = [key.strip() for line in text.splitlines() for key in line.split(",") if key.strip()]
    if not keys:
        raise ValueError(f"{where} holds no key; leave it unset to serve without keys")
    return keys
