"""The requests that the generator sends: bytes, and the status that each must be answered with."""

import gzip
import json
from collections.abc import Callable
from typing import Any, NamedTuple

from tests.chaos.jobs import encoded, tensors
from tests.chaos.wire import request_bytes


class Expected(NamedTuple):
    """One request as bytes and the status of its answer."""

    data: bytes
    status: int


def expect(status: int, fields: Any, path: str = "/attention", *, zipped: bool = False) -> Expected:
    """The request for these fields."""
    body = json.dumps(fields).encode()
    headers = {"Content-Encoding": "gzip"} if zipped else {}
    return Expected(request_bytes(gzip.compress(body) if zipped else body, path, headers), status)


def long_jobs() -> list[Expected]:
    """1 × 8192 × 2: tens of milliseconds of a CPU, each a batch of its own, with as many bytes as 1 × 4096 × 4."""
    arrays = tensors(0, (1, 8192, 2))
    fields: dict[str, Any] = {name: encoded(arrays[name]) for name in ("query", "key")}
    return [expect(200, fields | {"return": ["entropy"], "encoding": "base64"})]


def everything() -> list[Expected]:
    """All that clients send, in about the shares in which they send it: of each 25, 1 text, 4 refused."""
    small, medium = tensors(1, (4, 8)), tensors(2, (2, 32, 16))
    as_lists = {name: array.tolist() for name, array in small.items()}
    more_lists = {name: array.tolist() for name, array in medium.items()}
    binary = {name: encoded(array) for name, array in medium.items()}
    loss = {name: as_lists[name] for name in ("query", "key")}
    probability = [[0.25] * 4] * 4
    tensor_requests = [
        expect(200, as_lists),
        expect(200, as_lists | {"causal": True, "return": ["output", "entropy", "received"]}),
        expect(200, more_lists),
        expect(200, binary | {"return": ["entropy"], "encoding": "base64"}),
        expect(200, binary | {"encoding": "base64"}),
        expect(200, loss, "/loss"),
        expect(200, loss | {"probability": probability}, "/loss"),
        expect(200, as_lists | {"return": ["loss", "grad"]}, "/loss"),
        expect(200, binary | {"return": ["loss", "grad"], "encoding": "base64"}, "/loss"),
        expect(200, more_lists, zipped=True),
    ]
    refused = [
        expect(422, as_lists | {"casual": True}),
        expect(422, as_lists | {"query": [[1.0], [1.0, 2.0]]}),
        expect(400, "no object")._replace(data=request_bytes(b'{"query": [[NaN]]}')),
        expect(404, as_lists, "/attenion"),
    ]
    text = [expect(200, {"text": "I love programming", "layers": [-1], "heads": [0]})]
    return [*tensor_requests, *refused, *tensor_requests, *text]


TRAFFIC: dict[str, Callable[[], list[Expected]]] = {"long jobs": long_jobs, "everything": everything}
