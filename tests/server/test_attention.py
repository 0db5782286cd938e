"""POST /attention on tensors: every option, against numpy in float64."""

import base64
import json
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest

Truth = Callable[..., dict[str, np.ndarray]]
STATISTICS = ["output", "weights", "lse", "entropy", "max", "received"]


def tensors(rng: np.random.Generator, query: tuple[int, ...], key: tuple[int, ...], value_d: int = 0) -> dict:
    arrays = {"query": rng.standard_normal(query), "key": rng.standard_normal(key)}
    arrays["value"] = rng.standard_normal((*key[:-1], value_d or key[-1]))
    return arrays


def as_lists(body: dict[str, Any]) -> dict[str, Any]:
    return {name: item.tolist() if isinstance(item, np.ndarray) else item for name, item in body.items()}


def as_base64(array: np.ndarray, dtype: str = "<f4", name: str = "float32") -> dict[str, Any]:
    data = base64.b64encode(array.astype(dtype).tobytes()).decode()
    return {"shape": list(array.shape), "dtype": name, "base64": data}


def assert_close(answer: dict[str, Any], expected: dict[str, np.ndarray], atol: float = 1e-5) -> None:
    for name in set(answer) - {"backend", "device", "top"}:
        came = np.array(answer[name], np.float64)
        if name == "lse":
            came[np.isnan(came)] = -np.inf  # null
        np.testing.assert_allclose(came, expected[name], atol=atol, rtol=atol, err_msg=name)


def test_the_articles_example_gives_rows_that_sum_to_one(server: Any, truth: Truth) -> None:
    arrays = tensors(np.random.default_rng(0), (1, 10, 768), (1, 10, 768))
    answer = server.post("/attention", as_lists(arrays))
    assert set(answer) == {"output", "weights", "backend", "device"}
    assert np.shape(answer["weights"]) == (1, 10, 10)
    np.testing.assert_allclose(np.sum(answer["weights"], -1), 1, atol=1e-6)
    assert_close(answer, truth(**arrays))


@pytest.mark.parametrize("shape", [(12, 128, 64), (8, 12, 128, 64)], ids=str)
def test_the_tensors_of_a_real_model_are_answered_right(server: Any, truth: Truth, shape: tuple) -> None:
    arrays = tensors(np.random.default_rng(1), shape, shape)
    body = json.dumps(as_lists(arrays) | {"return": ["output", "entropy"]})
    answer = server.client.post("/attention", content=body, headers={"content-type": "application/json"})
    assert_close(answer.raise_for_status().json(), truth(**arrays))


@pytest.mark.parametrize("key", [(7, 5), (2, 7, 5), (2, 3, 7, 5), (2, 1, 7, 5)], ids=str)
@pytest.mark.parametrize("n", [1, 3, 7, 11])
def test_every_rank_and_grouped_heads_answer_every_statistic(
    server: Any, truth: Truth, key: tuple[int, ...], n: int
) -> None:
    query = (*key[:-2], n, 5) if len(key) < 4 else (2, 3, n, 5)
    arrays = tensors(np.random.default_rng(n), query, key, value_d=2)
    assert_close(server.post("/attention", as_lists(arrays) | {"return": STATISTICS}), truth(**arrays))


def random_mask(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).random(shape) < 0.6


@pytest.mark.parametrize(
    "options",
    [
        {"mask": random_mask(5, 7)},
        {"mask": random_mask(2, 3, 5, 7)},
        {"mask": random_mask(1, 3, 5, 7)},
        {"mask": random_mask(2, 1, 5, 7)},
        {"mask": np.zeros((5, 7), bool)},
        {"causal": True},
        {"causal": True, "mask": random_mask(5, 7)},
        {"key_lengths": [7, 2]},
        {"key_lengths": [0, 1]},
        {"query_lengths": [5, 0]},
        {"key_lengths": [3, 6], "query_lengths": [5, 2]},
        {"causal": True, "key_lengths": [3, 6], "query_lengths": [5, 2]},
        {"causal": True, "key_lengths": [3, 6], "query_lengths": [5, 2], "mask": random_mask(5, 7)},
        {"scale": 0.25},
        {"scale": 0.0},
    ],
    ids=lambda options: "+".join(options),
)
def test_masks_lengths_causal_and_scale_combine(server: Any, truth: Truth, options: dict[str, Any]) -> None:
    arrays = tensors(np.random.default_rng(2), (2, 3, 5, 4), (2, 3, 7, 4))
    answer = server.post("/attention", as_lists(arrays | options) | {"return": STATISTICS})
    assert_close(answer, truth(**arrays, **options))


@pytest.mark.parametrize(("n", "m"), [(3, 5), (5, 3), (4, 4), (1, 6), (6, 1)])
def test_causal_is_aligned_to_the_end(server: Any, truth: Truth, n: int, m: int) -> None:
    arrays = tensors(np.random.default_rng(3), (n, 4), (m, 4))
    answer = server.post("/attention", as_lists(arrays) | {"causal": True, "return": STATISTICS})
    assert_close(answer, truth(**arrays, causal=True))
    assert answer["weights"][-1][-1] > 0
    assert all(row[j] == 0 for i, row in enumerate(answer["weights"]) for j in range(m) if j > i + m - n)


@pytest.mark.parametrize(
    ("dtype", "atol"), [("float64", 1e-12), ("float32", 1e-5), ("bfloat16", 3e-2), ("float16", 4e-3)]
)
def test_every_dtype_answers_within_its_precision(server: Any, truth: Truth, dtype: str, atol: float) -> None:
    arrays = tensors(np.random.default_rng(4), (2, 3, 5, 8), (2, 3, 7, 8))
    answer = server.post("/attention", as_lists(arrays) | {"dtype": dtype, "return": STATISTICS})
    assert_close(answer, truth(**arrays), atol)


def test_a_fully_masked_query_has_weights_zero_and_lse_null(server: Any) -> None:
    body = {"query": [[1.0], [2.0]], "key": [[1.0]], "value": [[3.0]], "mask": [[True], [False]]}
    answer = server.post("/attention", body | {"return": STATISTICS})
    assert answer["lse"] == [1.0, None]
    assert answer["weights"] == [[1.0], [0.0]]
    assert answer["output"] == [[3.0], [0.0]]
    assert (answer["entropy"], answer["max"], answer["received"]) == ([0.0, 0.0], [1.0, 0.0], [1.0])


@pytest.mark.parametrize(
    ("dtype", "name", "atol"),
    [("<f4", "float32", 1e-5), ("<f8", "float64", 1e-5), ("<f2", "float16", 4e-3)],
)
def test_base64_goes_in_as_lists_do(server: Any, truth: Truth, dtype: str, name: str, atol: float) -> None:
    arrays = tensors(np.random.default_rng(5), (2, 5, 4), (2, 7, 4))
    body = {field: as_base64(array, dtype, name) for field, array in arrays.items()}
    assert_close(server.post("/attention", body | {"return": STATISTICS}), truth(**arrays), atol)


@pytest.mark.parametrize(("dtype", "carrier"), [("float32", "<f4"), ("float64", "<f8"), ("bfloat16", "<f4")])
def test_base64_comes_out_as_the_same_numbers(server: Any, dtype: str, carrier: str) -> None:
    arrays = tensors(np.random.default_rng(6), (2, 5, 4), (2, 7, 4))
    body = as_lists(arrays) | {"dtype": dtype, "return": [*STATISTICS, "top"], "top_k": 2}
    lists = server.post("/attention", body)
    answer = server.post("/attention", body | {"encoding": "base64"})
    index = answer["top"].pop("index")
    assert index["dtype"].startswith("int")
    decoded = np.frombuffer(base64.b64decode(index["base64"]), index["dtype"]).reshape(index["shape"])
    assert decoded.tolist() == lists["top"].pop("index")
    for name in [*STATISTICS, "top"]:
        tensor, expected = answer[name], lists[name]
        if name == "top":
            tensor, expected = tensor["weight"], expected["weight"]
        assert tensor["dtype"] == {"<f4": "float32", "<f8": "float64"}[carrier]
        came = np.frombuffer(base64.b64decode(tensor["base64"]), carrier).reshape(tensor["shape"])
        np.testing.assert_allclose(came, expected, atol=1e-6, rtol=1e-6, err_msg=name)


@pytest.mark.parametrize("window", [{"queries": [1, 3]}, {"keys": [2, 7]}, {"queries": [4, 5], "keys": [0, 1]}])
def test_a_window_cuts_the_weights_and_nothing_else(server: Any, truth: Truth, window: dict) -> None:
    arrays = tensors(np.random.default_rng(8), (2, 5, 4), (2, 7, 4))
    answer = server.post("/attention", as_lists(arrays) | window | {"return": STATISTICS})
    expected = truth(**arrays)
    rows, columns = slice(*window.get("queries", [None])), slice(*window.get("keys", [None]))
    expected["weights"] = expected["weights"][:, rows, columns]
    assert_close(answer, expected)


@pytest.mark.parametrize("k", [1, 3, 7])
def test_top_is_descending_and_ties_go_to_the_lower_index(server: Any, truth: Truth, k: int) -> None:
    arrays = tensors(np.random.default_rng(9), (2, 5, 4), (2, 7, 4))
    arrays["key"][:, 5] = arrays["key"][:, 1]
    top = server.post("/attention", as_lists(arrays) | {"return": ["top"], "top_k": k})["top"]
    weights = truth(**arrays)["weights"]
    order = np.argsort(-weights.round(12), -1, kind="stable")[..., :k]
    assert top["index"] == order.tolist()
    np.testing.assert_allclose(top["weight"], np.take_along_axis(weights, order, -1), atol=1e-6)


def test_top_is_minus_one_where_fewer_keys_are_allowed(server: Any) -> None:
    body = {"query": [[1.0], [1.0]], "key": [[1.0], [2.0]], "causal": True, "return": ["top"], "top_k": 2}
    top = server.post("/attention", body)["top"]
    assert top["index"] == [[0, -1], [1, 0]]
    assert top["weight"][0] == [1.0, 0.0]


def test_value_is_not_needed_without_an_output(server: Any) -> None:
    answer = server.post("/attention", {"query": [[1.0]], "key": [[2.0]], "return": ["weights"]})
    assert answer["weights"] == [[1.0]]


@pytest.mark.parametrize("number", ["1", "-0.0", "1e-320", "100000000000000000000", "3.4e38", "1E2"])
def test_every_way_to_write_a_number_is_read(client: httpx.Client, number: str) -> None:
    body = f'{{"query": [[{number}]], "key": [[0]], "value": [[1]]}}'
    answer = client.post("/attention", content=body).raise_for_status().json()
    assert (answer["weights"], answer["output"]) == ([[1.0]], [[1.0]])
