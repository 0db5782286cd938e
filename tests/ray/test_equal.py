"""The same requests to a Ray cluster and to the ordinary server."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.chaos.jobs import encoded, tensors
from tests.server.test_http import random_job
from tests.serving import Server, server_starter

TEXT = "I love programming"


@pytest.fixture(scope="module")
def ordinary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`attnloss serve`, with as many threads as a worker replica of one CPU."""
    with server_starter(tmp_path_factory) as start:
        yield start(models="default", cpu_threads=1)


def test_answers_are_those_of_the_ordinary_server_bit_for_bit(server: Server, ordinary: Server) -> None:
    rng = np.random.default_rng(5)
    for path, body in (random_job(rng) for _ in range(48)):
        assert server.post(path, body) == ordinary.post(path, body)


@pytest.mark.parametrize("shape", [(2, 4, 33, 16), (1, 8, 400, 64)], ids=["small", "beyond what Ray sends inline"])
def test_base64_answers_are_those_of_the_ordinary_server_bit_for_bit(
    server: Server, ordinary: Server, shape: tuple[int, ...]
) -> None:
    fields: dict[str, Any] = {name: encoded(array) for name, array in tensors(0, shape).items()}
    for path, returns in (("/attention", ["output", "weights"]), ("/loss", ["loss", "grad", "per_query"])):
        body = fields | {"return": returns, "encoding": "base64"}
        assert server.post(path, body) == ordinary.post(path, body)


@pytest.mark.parametrize(
    ("path", "returns"), [("/loss", ["loss", "alternatives"]), ("/attention", ["weights", "entropy"])]
)
def test_texts_get_the_answers_of_the_ordinary_server_bit_for_bit(
    server: Server, ordinary: Server, path: str, returns: list[str]
) -> None:
    body = {"text": [TEXT, "A dog went over the hill."], "return": returns}
    body |= {"top_k": 3} if "alternatives" in returns else {}
    assert server.post(path, body) == ordinary.post(path, body)
