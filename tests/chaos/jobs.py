"""Requests whose right answers are known, in float64."""

import base64
import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.chaos.wire import Answer, request_bytes
from tests.serving import attend

CLOSE = 1e-5
"""Nats, and parts: what the service promises of float32 where scores stay below 20."""


@dataclass(frozen=True)
class Prepared:
    """A request as bytes, and what must be answered."""

    request: bytes
    expected: dict[str, np.ndarray] = field(repr=False)

    def check(self, answer: Answer) -> None:
        """The answer is a 200 and right."""
        assert answer.status == 200, (answer.status, answer.body[:500])
        found = answer.json()
        for name, right in self.expected.items():
            np.testing.assert_allclose(array_of(found[name]), right, atol=CLOSE, rtol=CLOSE, err_msg=name)


def array_of(value: Any) -> np.ndarray:
    """An array of an answer, in either encoding."""
    if isinstance(value, dict):
        return np.frombuffer(base64.b64decode(value["base64"]), value["dtype"]).reshape(value["shape"])
    return np.asarray(value)


def encoded(array: np.ndarray) -> dict[str, Any]:
    """The base64 form of a float32 array."""
    data = base64.b64encode(np.ascontiguousarray(array, "<f4").tobytes()).decode()
    return {"shape": list(array.shape), "dtype": "float32", "base64": data}


def tensors(seed: int, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Query, key and value of one shape."""
    drawn = np.random.default_rng([seed, *shape]).standard_normal((3, *shape), dtype=np.float32)
    return dict(zip(("query", "key", "value"), drawn, strict=True))


def prepared(seed: int, n: int, d: int = 4, *, mark: float | None = None, **options: Any) -> Prepared:
    """A request for entropy, max and output; `mark` is put where the faulty worker looks."""
    arrays = tensors(seed, (n, d))
    if mark is not None:
        arrays["query"][0, 0] = mark
    fields: dict[str, Any] = {name: encoded(array) for name, array in arrays.items()}
    fields |= {"return": ["entropy", "max", "output"], "encoding": "base64"} | options
    truth = attend(**arrays, causal=bool(options.get("causal")))
    return Prepared(request_bytes(json.dumps(fields).encode()), {name: truth[name] for name in fields["return"]})


def mixed() -> list[Prepared]:
    """Jobs of mixed sizes, some of which can share a batch."""
    sizes = (3, 3, 16, 16, 16, 50, 129, 129, 300, 300, 500)
    return [prepared(seed, n, causal=seed % 3 == 0) for seed, n in enumerate(sizes)]
