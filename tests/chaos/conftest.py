"""Servers to break: sound ones, and ones whose worker misbehaves on a mark."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.serving import Server, server_starter


@pytest.fixture
def start_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """Starts servers; a test that breaks one leaves none to the next."""
    with server_starter(tmp_path_factory) as start:
        yield start


@pytest.fixture
def start_faulty(start_server: Callable[..., Server]) -> Callable[..., Server]:
    """Starts servers whose worker misbehaves on a mark."""

    def start(**settings: Any) -> Server:
        return start_server(["tests.chaos.faulty_serve"], port=0, **settings)

    return start
