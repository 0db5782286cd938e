"""The server that the tests share, and what they read its answers with."""

from collections.abc import Callable, Iterator

import pytest

from tests.fixtures import client, read_answer, refused, truth
from tests.serving import Server, server_starter

__all__ = ["client", "read_answer", "refused", "truth"]


@pytest.fixture(scope="session")
def start_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """Starts servers with other settings or another command; what is left of them ends with the tests."""
    with server_starter(tmp_path_factory) as start:
        yield start


@pytest.fixture(scope="session")
def server(start_server: Callable[..., Server]) -> Iterator[Server]:
    """The server that most tests share; it ends in order, and no test may have made it fail inside."""
    server = start_server(models="default")
    yield server
    assert server.terminate() == 0
    log = server.log.read_text()
    assert "Traceback" not in log, log
    assert "failed" not in log, log
