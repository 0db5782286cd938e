"""One server for all the real clients, that loads the embedded text model."""

from collections.abc import Callable, Iterator

import pytest
import tritonclient.http as triton

from tests.serving import Server, server_starter


@pytest.fixture(scope="session")
def start_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    with server_starter(tmp_path_factory) as start:
        yield start


@pytest.fixture(scope="session")
def server(start_server: Callable[..., Server]) -> Server:
    return start_server()


@pytest.fixture
def client(server: Server) -> Iterator[triton.InferenceServerClient]:
    client = triton.InferenceServerClient(f"127.0.0.1:{server.port}", concurrency=4)
    yield client
    client.close()
