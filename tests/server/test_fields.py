"""422: what is wrong with the fields of a request, by name and index (design section 4.3)."""

import base64
import struct
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import numpy as np
import pytest

Refused = Callable[..., None]

ONE = {"query": [[1.0, 2.0]], "key": [[1.0, 2.0], [3.0, 4.0]], "return": ["weights"]}
LOSS = {"query": ONE["query"], "key": ONE["key"]}
SQUARE = {"query": np.zeros((1, 2, 2)).tolist(), "key": np.zeros((1, 2, 2)).tolist()}
HALF = [[0.5, 0.5]]


@pytest.fixture(autouse=True)
def _the_server_answers_afterwards(server: Any) -> Iterator[None]:
    yield
    server.is_right()


def packed(*numbers: float, shape: Any = (1, 2), dtype: str = "float32", form: str = "<f") -> dict[str, Any]:
    data = b"".join(struct.pack(form, number) for number in numbers)
    return {"shape": list(shape), "dtype": dtype, "base64": base64.b64encode(data).decode()}


def of_loss(**entry: Any) -> dict[str, Any]:
    return LOSS | {"losses": [{"name": "cross_entropy"} | entry]}


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        (ONE | {"query": [[1, 2], [3]]}, "query[1]", ["query[0]", "2", "1"]),
        (ONE | {"query": [[[1, 2]], [[1, 2, 3]]]}, "query[1][0]", ["query[0][0]", "2", "3"]),
        (ONE | {"query": [[1, [2]]]}, "query[0][1]", []),
        (ONE | {"query": [[1, 2], 3]}, "query[1]", []),
        (ONE | {"query": [[1.0, 2.0, 3.0]]}, "key", ["3", "2", "[1, 3]", "[2, 2]"]),
        (ONE | {"value": [[1.0]]}, "value", ["[1, 1]", "[2, 2]"]),
        (ONE | {"key": [[[1.0, 2.0]]]}, "key", ["[1, 1, 2]", "[1, 2]"]),
        (ONE | {"query": packed(float("nan"), 1)}, "query[0][0]", ["nan"]),
        (ONE | {"query": packed(1, float("-inf"))}, "query[0][1]", ["-inf"]),
        (ONE | {"query": [[1.0, 1e39]]}, "query[0][1]", ["1e+39", "float32"]),
        (ONE | {"query": [[1.0, 65536]], "dtype": "float16"}, "query[0][1]", ["65536", "float16"]),
        (ONE | {"query": [["1", "2"]]}, "query[0][0]", ["string"]),
        (ONE | {"query": [[True, False]]}, "query[0][0]", ["boolean"]),
        (ONE | {"query": [[1, None]]}, "query[0][1]", ["null"]),
        (ONE | {"query": [[1, {}]]}, "query[0][1]", ["object"]),
        (ONE | {"query": "abc"}, "query", []),
        (ONE | {"query": 1}, "query", []),
        (ONE | {"query": None}, "query", []),
        (ONE | {"query": []}, "query", ["empty"]),
        (ONE | {"query": [[]]}, "query[0]", ["empty"]),
        (ONE | {"query": [[], []]}, "query[0]", ["empty"]),
        (ONE | {"query": [1.0, 2.0]}, "query", []),
        (ONE | {"query": [[[[[1.0]]]]]}, "query", []),
        ({"key": [[1.0]]}, "query", []),
        (ONE | {"return": ["output"]}, "value", ["output"]),
        (ONE | {"return": ["wieghts"]}, "return[0]", ["weights"]),
        (ONE | {"return": []}, "return", []),
        (ONE | {"return": "weights"}, "return", []),
        (ONE | {"return": ["top"]}, "top_k", []),
        (ONE | {"return": ["top"], "top_k": 3}, "top_k", ["3", "2"]),
        (ONE | {"return": ["top"], "top_k": 0}, "top_k", []),
        (ONE | {"casual": True}, "casual", ["unknown"]),
        (ONE | {"causal": 1}, "causal", []),
        (ONE | {"causal": "yes"}, "causal", []),
        (ONE | {"dtype": "int8"}, "dtype", ["float32"]),
        (ONE | {"encoding": "hex"}, "encoding", []),
        (ONE | {"scale": "1"}, "scale", []),
        (ONE | {"mask": [[True] * 3]}, "mask", ["[1, 3]", "[1, 2]"]),
        (ONE | {"mask": [[[True, True]], [[True, True]]]}, "mask", ["[2, 1, 2]"]),
        (ONE | {"mask": [[1, 0]]}, "mask[0][0]", []),
        (ONE | {"mask": packed(1, 0)}, "mask", ["boolean"]),
        (ONE | {"key_lengths": [3]}, "key_lengths[0]", ["2", "3"]),
        (ONE | {"key_lengths": [-1]}, "key_lengths[0]", []),
        (ONE | {"key_lengths": [1, 1]}, "key_lengths", []),
        (ONE | {"query_lengths": [1.5]}, "query_lengths[0]", []),
        (ONE | {"query_lengths": [2**63]}, "query_lengths[0]", []),
        (ONE | {"queries": [0, 2]}, "queries", []),
        (ONE | {"keys": [1, 1]}, "keys", []),
        (ONE | {"keys": [0]}, "keys", []),
        (ONE | {"text": "hello"}, "text", []),
        (ONE | {"query": packed(1, 2, 3)}, "query", ["8", "12"]),
        (ONE | {"query": packed(1, 2, shape=[2**40, 2**40])}, "query", []),
        (ONE | {"query": packed(1, 2, shape=[-1, -2])}, "query.shape", []),
        (ONE | {"query": packed(1, 2, shape=[0])}, "query.shape", []),
        (ONE | {"query": packed(1, 2, dtype="float128")}, "query.dtype", []),
        (ONE | {"query": {"shape": [1, 2], "dtype": "float32", "base64": "*" * 12}}, "query", []),
        (ONE | {"query": {"shape": [1, 2], "dtype": "float32"}}, "query.base64", []),
        (ONE | {"query": packed(1, 2) | {"order": "C"}}, "query.order", []),
        (ONE | {"query": [[1e20, 1e20]], "key": [[1e20, 1e20], [-1e20, 1e20]]}, "query", ["overflow"]),
    ],
    ids=str,
)
def test_422_names_the_field_of_an_attention(
    client: httpx.Client, refused: Refused, body: Any, field: str, words: list[str]
) -> None:
    answer = client.post("/attention", json=body)
    refused(answer, 422, field, *words)
    assert answer.json()["errors"][0]["field"] == field


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        (LOSS | {"losses": []}, "losses", []),
        (LOSS | {"losses": {}}, "losses", []),
        (LOSS | {"losses": [{"name": "entropie"}]}, "losses[0]", ["entropy"]),
        (LOSS | {"losses": [{"weight": 1.0}]}, "losses[0]", []),
        (LOSS | {"losses": [{"name": "entropy", "eps": 1.0}]}, "losses[0].eps", []),
        (LOSS | {"losses": [{"name": "entropy"}] * 2}, "losses[1].label", ["entropy"]),
        (LOSS | {"losses": [{"name": "entropy"}, {"name": "row_sum", "label": "entropy"}]}, "losses[1].label", []),
        (LOSS | {"losses": [{"name": "entropy", "label": str(i)} for i in range(33)]}, "losses", ["32", "33"]),
        (LOSS | {"reduction": "median"}, "reduction", ["mean"]),
        (LOSS | {"return": ["gradient"]}, "return[0]", ["grad"]),
        (LOSS | {"probability": [[0.5, 0.6]]}, "probability[0]", ["1.1"]),
        (LOSS | {"probability": [[0.0, 1.0]]}, "probability[0]", ["infinite"]),
        (of_loss(), "losses[0]", ["target", "probability"]),
        (of_loss(target=HALF, probability=HALF), "losses[0]", ["target", "probability"]),
        (of_loss(target=[[0.2, 0.2]]), "losses[0].target[0]", ["0.4"]),
        (of_loss(target=[[-0.5, 1.5]]), "losses[0].target[0]", []),
        (of_loss(target=[2]), "losses[0].target[0]", ["2"]),
        (of_loss(target=[-1]), "losses[0].target[0]", ["-1"]),
        (of_loss(target=[0.5]), "losses[0].target", []),
        (of_loss(target=[0, 1]), "losses[0].target", ["[2]"]),
        (of_loss(target=HALF, kind="index"), "losses[0].target", []),
        (of_loss(target=HALF, kind="other"), "losses[0].kind", []),
        (of_loss(target=HALF, eps=-1.0), "losses[0].eps", []),
        (of_loss(target=HALF, weight="1"), "losses[0].weight", []),
        (of_loss(target=HALF, weight=1e300), "losses", ["overflow"]),
        (of_loss(target=[0]) | {"mask": [[False, True]]}, "losses[0].target[0]", ["infinite"]),
        (
            SQUARE
            | {"query": np.zeros((2, 2, 2)).tolist(), "key": np.zeros((2, 2, 2)).tolist()}
            | {"losses": [{"name": "cross_entropy", "target": [[1, 0], [0, 1]]}]},
            "losses[0].target",
            ["ambiguous"],
        ),
    ],
    ids=str,
)
def test_422_names_the_field_of_a_loss(
    client: httpx.Client, refused: Refused, body: Any, field: str, words: list[str]
) -> None:
    answer = client.post("/loss", json=body)
    refused(answer, 422, field, *words)
    assert answer.json()["errors"][0]["field"].startswith(field)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"query": [[1]], "key": [[1]], "query": [[2]]}', "query"),
        (b'{"query": [[1]], "key": [[1]], "causal": true, "causal": false}', "causal"),
        (b'{"losses": [{"name": "entropy", "name": "row_sum"}]}', "losses[0].name"),
        (b"[]", ""),
        (b"null", ""),
        (b"1", ""),
    ],
)
def test_422_for_keys_given_twice_and_for_no_object(
    client: httpx.Client, refused: Refused, body: bytes, field: str
) -> None:
    answer = client.post("/loss", content=body)
    refused(answer, 422)
    assert answer.json()["errors"][0]["field"] == field
