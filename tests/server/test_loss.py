"""POST /loss on tensors: losses, reductions and gradients, against torch in float64."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

RNG = np.random.default_rng(11)
N, M, D = 5, 7, 4
QUERY, KEY = RNG.standard_normal((2, 3, N, D)), RNG.standard_normal((2, 3, M, D))
VALUE = RNG.standard_normal((2, 3, M, 2))
DISTRIBUTION = RNG.dirichlet(np.ones(M), (2, 3, N))
INDEX = RNG.integers(0, M, (2, 3, N))
TENSORS = {"query": QUERY, "key": KEY}
EVERY_REDUCTION = pytest.mark.parametrize("reduction", ["none", "mean", "sum"])


def as_lists(body: Any) -> Any:
    if isinstance(body, dict):
        return {name: as_lists(item) for name, item in body.items()}
    if isinstance(body, list):
        return [as_lists(item) for item in body]
    return body.tolist() if isinstance(body, np.ndarray) else body


def losses_of(weights: Any, log: Any = np.log) -> dict[str, Any]:
    """Each loss of each query, from weights in which none is 0; with torch's log, differentiable."""
    target = DISTRIBUTION if log is np.log else torch.tensor(DISTRIBUTION)
    one_hot = np.eye(M)[INDEX] if log is np.log else torch.tensor(np.eye(M)[INDEX])
    return {
        "entropy": -(weights * log(weights)).sum(-1),
        "row_sum": -(weights * log(weights.sum(-1))[..., None]).sum(-1),
        "dense": -(target * log(weights)).sum(-1),
        "index": -(one_hot * log(weights)).sum(-1),
        "probability": -(weights * log(target)).sum(-1),
    }


ENTRIES = {
    "entropy": {"name": "entropy"},
    "row_sum": {"name": "row_sum"},
    "dense": {"name": "cross_entropy", "target": DISTRIBUTION},
    "index": {"name": "cross_entropy", "target": INDEX},
    "probability": {"name": "cross_entropy", "probability": DISTRIBUTION},
}


def test_the_articles_row_sum_is_zero_and_its_entropy_is_not(server: Any, truth: Callable[..., Any]) -> None:
    arrays = dict(zip(("query", "key"), np.random.default_rng(0).standard_normal((2, 1, 10, 768)), strict=True))
    losses = server.post("/loss", as_lists(arrays | {"losses": [ENTRIES["row_sum"], ENTRIES["entropy"]]}))["losses"]
    assert abs(losses["row_sum"]) < 1e-5
    assert losses["entropy"] == pytest.approx(truth(**arrays)["entropy"].mean(), abs=1e-5)


def test_the_default_loss_is_the_mean_entropy(server: Any, truth: Callable[..., Any]) -> None:
    answer = server.post("/loss", as_lists(TENSORS))
    expected = pytest.approx(truth(**TENSORS)["entropy"].mean(), abs=1e-5)
    assert set(answer) == {"loss", "losses", "backend", "device"}
    assert (answer["loss"], answer["losses"]) == (expected, {"entropy": expected})


def test_probability_alone_asks_for_cross_entropy(server: Any, truth: Callable[..., Any]) -> None:
    answer = server.post("/loss", as_lists(TENSORS | {"probability": DISTRIBUTION}))
    expected = losses_of(truth(**TENSORS)["weights"])["probability"].mean()
    assert answer["losses"] == {"cross_entropy": pytest.approx(expected, abs=1e-5)}


@EVERY_REDUCTION
@pytest.mark.parametrize("name", ENTRIES)
def test_every_loss_is_reduced_over_all_queries(
    server: Any, truth: Callable[..., Any], name: str, reduction: str
) -> None:
    body = TENSORS | {
        "losses": [ENTRIES[name] | {"label": "a"}],
        "reduction": reduction,
        "return": ["loss", "per_query"],
    }
    answer = server.post("/loss", as_lists(body))
    expected = losses_of(truth(**TENSORS)["weights"])[name]
    reduced = {"none": expected, "mean": expected.mean(), "sum": expected.sum()}[reduction]
    np.testing.assert_allclose(answer["losses"]["a"], reduced, atol=2e-5)
    np.testing.assert_allclose(answer["per_query"]["a"], expected, atol=2e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@EVERY_REDUCTION
def test_loss_is_the_weighted_sum_and_grad_is_its_gradient(server: Any, reduction: str, dtype: str) -> None:
    factors = {"entropy": 1.0, "dense": 0.5, "index": -0.25, "probability": 2.0, "row_sum": 3.0}
    entries = [ENTRIES[name] | {"label": name, "weight": factor} for name, factor in factors.items()]
    returns = ["loss", "grad", "weights"]
    body = TENSORS | {"value": VALUE, "losses": entries, "reduction": reduction, "return": returns, "dtype": dtype}
    answer = server.post("/loss", as_lists(body))

    query, key = (torch.tensor(array, requires_grad=True) for array in (QUERY, KEY))
    per_query = losses_of(torch.softmax(query @ key.mT / D**0.5, -1), torch.log)
    reduced = {name: values.mean() if reduction == "mean" else values.sum() for name, values in per_query.items()}
    total = torch.stack([factors[name] * reduced[name] for name in factors]).sum()
    total.backward()
    atol = 1e-10 if dtype == "float64" else 1e-4
    np.testing.assert_allclose(answer["loss"], total.item(), atol=atol, rtol=1e-5)
    for name, tensor in (("query", query), ("key", key)):
        np.testing.assert_allclose(answer["grad"][name], tensor.grad.numpy(), atol=atol, err_msg=name)
    np.testing.assert_allclose(answer["grad"]["value"], np.zeros(VALUE.shape), atol=0)
    if reduction != "none":
        losses = {name: value.item() for name, value in reduced.items()}
        assert answer["losses"] == pytest.approx(losses, abs=max(atol, 1e-10), rel=1e-5)


def test_grad_has_value_only_if_value_was_given(server: Any) -> None:
    answer = server.post("/loss", as_lists(TENSORS | {"return": ["grad"]}))
    assert set(answer["grad"]) == {"query", "key"}
    assert set(answer) == {"grad", "backend", "device"}


def test_statistics_come_beside_a_loss(server: Any, truth: Callable[..., Any]) -> None:
    returns = ["loss", "output", "weights", "lse", "entropy", "max", "received", "top"]
    answer = server.post("/loss", as_lists(TENSORS | {"value": VALUE, "return": returns, "top_k": 1}))
    expected = truth(**TENSORS, value=VALUE)
    for name in set(returns) - {"loss", "top"}:
        np.testing.assert_allclose(answer[name], expected[name], atol=1e-5, err_msg=name)
    np.testing.assert_allclose(np.squeeze(answer["top"]["weight"], -1), expected["max"], atol=1e-6)


def test_the_mean_is_one_mean_over_the_valid_queries(server: Any, truth: Callable[..., Any]) -> None:
    options = {"query_lengths": [5, 1], "key_lengths": [7, 2], "causal": True}
    body = TENSORS | options | {"return": ["loss", "per_query"]}
    answer = server.post("/loss", as_lists(body))
    expected = truth(**TENSORS, **options)
    valid = np.isfinite(expected["lse"])
    per_query = np.array(answer["per_query"]["entropy"])
    np.testing.assert_allclose(per_query, np.where(valid, expected["entropy"], 0), atol=1e-5)
    assert 0 < valid.sum() < valid.size
    assert answer["loss"] == pytest.approx(expected["entropy"][valid].mean(), abs=1e-5)


def test_gradients_of_masked_queries_are_zero(server: Any) -> None:
    body = TENSORS | {"query_lengths": [5, 0], "key_lengths": [3, 7], "return": ["loss", "grad"]}
    grad = server.post("/loss", as_lists(body))["grad"]
    assert not np.any(grad["query"][1])
    assert not np.any(np.array(grad["key"])[0, :, 3:])
    assert np.any(grad["query"][0])


def test_a_loss_over_no_valid_query_is_zero(server: Any) -> None:
    body = {"query": [[1.0]], "key": [[1.0]], "mask": [[False]], "return": ["loss", "grad", "per_query"]}
    answer = server.post("/loss", body)
    assert (answer["loss"], answer["per_query"]["entropy"]) == (0.0, [0.0])
    assert answer["grad"] == {"query": [[0.0]], "key": [[0.0]]}


@pytest.mark.parametrize(
    ("query", "target"), [((N, D), INDEX[0, 0]), ((2, N, D), INDEX[:, 0]), ((2, 3, N, D), INDEX[0, 0])], ids=str
)
def test_an_index_target_fits_every_rank(
    server: Any, truth: Callable[..., Any], query: tuple[int, ...], target: np.ndarray
) -> None:
    arrays = {"query": np.resize(QUERY, query), "key": np.resize(KEY, (*query[:-2], M, D))}
    body = arrays | {"losses": [{"name": "cross_entropy", "target": target}], "return": ["per_query"]}
    answer = server.post("/loss", as_lists(body))
    weights = truth(**arrays)["weights"]
    one_hot = np.eye(M)[np.broadcast_to(target, weights.shape[:-1])]
    expected = -np.log((weights * one_hot).sum(-1))
    np.testing.assert_allclose(answer["per_query"]["cross_entropy"], expected, atol=1e-5)


@pytest.mark.parametrize(("kind", "expected"), [("index", np.log(2)), ("dense", np.log(2))])
def test_kind_decides_about_an_integer_target_that_fits_both(server: Any, kind: str, expected: float) -> None:
    shape = (1, 2, 2)
    target = [[1, 0]] if kind == "index" else [[1, 0], [0, 1]]
    body = {"query": np.zeros(shape), "key": np.zeros(shape)}
    body["losses"] = [{"name": "cross_entropy", "target": target, "kind": kind}]
    assert server.post("/loss", as_lists(body))["loss"] == pytest.approx(expected)


def test_eps_clamps_a_loss_that_would_be_infinite(server: Any) -> None:
    loss = {"name": "cross_entropy", "probability": [[1.0, 0.0]], "eps": 1e-6}
    body = {"query": [[0.0]], "key": [[0.0], [0.0]], "losses": [loss]}
    assert server.post("/loss", body)["loss"] == pytest.approx(-0.5 * np.log(1e-6), rel=1e-5)
