"""The same fixtures that the tests of the ordinary server use, over a Ray cluster of one node."""

import socket
from collections.abc import Callable, Iterator

import httpx
import numpy as np
import psutil
import pytest

from tests.serving import Server, answer_on, assert_problem, attend, server_starter


@pytest.fixture(scope="session")
def read_answer() -> Callable[[socket.socket], httpx.Response]:
    """Reads the answer that comes on a raw connection."""
    return answer_on


@pytest.fixture(scope="session")
def refused() -> Callable[..., None]:
    """Checks a problem document: status, words of its detail, request id."""
    return assert_problem


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


@pytest.fixture(scope="session")
def client(server: Server) -> httpx.Client:
    """A client of the shared server."""
    return server.client


@pytest.fixture(scope="session")
def truth() -> Callable[..., dict[str, np.ndarray]]:
    """What the service should answer, in numpy and float64."""
    return attend
