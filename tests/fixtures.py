"""Fixtures of all tests that ask a server, whatever serves it."""

import socket
from collections.abc import Callable

import httpx
import numpy as np
import pytest

from tests.serving import Server, answer_on, assert_problem, attend


@pytest.fixture(scope="session")
def read_answer() -> Callable[[socket.socket], httpx.Response]:
    """Reads the answer that comes on a raw connection."""
    return answer_on


@pytest.fixture(scope="session")
def refused() -> Callable[..., None]:
    """Checks a problem document: status, words of its detail, request id."""
    return assert_problem


@pytest.fixture(scope="session")
def client(server: Server) -> httpx.Client:
    """A client of the shared server."""
    return server.client


@pytest.fixture(scope="session")
def truth() -> Callable[..., dict[str, np.ndarray]]:
    """What the service should answer, in numpy and float64."""
    return attend
