"""The image, built once, and the default service of it."""

import time
from collections.abc import Iterator

import httpx
import pytest

from tests.docker.compose import Compose, say


@pytest.fixture(scope="session")
def built() -> Iterator[Compose]:
    """The project with its image built and nothing started; forgotten at the end, with logs if a test failed."""
    compose = Compose()
    try:
        began = time.monotonic()
        compose("build", "attnloss")
        say(f"image built in {time.monotonic() - began:.1f} s")
        yield compose
    finally:
        compose.forget()


@pytest.fixture(scope="module")
def compose(built: Compose) -> Iterator[Compose]:
    """The default service, started and healthy."""
    try:
        built("up", "--detach", "--wait", "--wait-timeout", "120", "attnloss")
        yield built
    except AssertionError:
        say(built("logs", "--no-color", "--tail", "50"))
        raise


@pytest.fixture(scope="module")
def client(compose: Compose) -> Iterator[httpx.Client]:
    """A client of the default service."""
    with compose.client("ATTNLOSS") as client:
        yield client
