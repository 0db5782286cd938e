"""The same fixtures that the tests of the ordinary server use, over a Ray cluster of one node."""

from collections.abc import Callable, Iterator

import psutil
import pytest

from tests.fixtures import client, read_answer, refused, truth
from tests.serving import Server, server_starter

__all__ = ["client", "read_answer", "refused", "truth"]


@pytest.fixture(scope="session")
def start_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """Starts servers with other settings or another command; what is left of them ends with the tests."""
    with server_starter(tmp_path_factory, ["tests.ray.cluster"]) as start:
        yield start


@pytest.fixture(scope="session")
def server(start_server: Callable[..., Server]) -> Iterator[Server]:
    """The cluster that most tests share; it ends in order and leaves no process."""
    server = start_server(models="default")
    yield server
    processes = server.processes()
    assert server.terminate() == 0, server.log.read_text()
    assert psutil.wait_procs(processes, timeout=10)[1] == []
