"""Both clients against a real server: each wire gives what numpy gives in float64."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch

from service.client import InvalidRequest, NotFound
from tests.serving import Server, attend

RNG = np.random.default_rng(0)
QUERY = RNG.standard_normal((2, 4, 5, 8))
KEY, VALUE = RNG.standard_normal((2, 2, 2, 7, 8))
STATISTICS = ["output", "weights", "lse", "entropy", "max", "received"]
WIRES = pytest.mark.parametrize("binary", [None, True, False], ids=["by-size", "binary", "lists"])


@pytest.fixture
def connect(make_client: Callable[..., Any], server: Server) -> Callable[..., Any]:
    return lambda **options: make_client(f"http://127.0.0.1:{server.port}", **options)


@WIRES
@pytest.mark.parametrize("rank", [2, 3, 4])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_attention_is_what_numpy_computes(
    connect: Callable[..., Any], binary: bool | None, rank: int, dtype: str
) -> None:
    place = {2: (0, 0), 3: (slice(None), 0), 4: ()}[rank]
    query, key, value = QUERY[place], KEY[place], VALUE[place]
    lengths = {"key_lengths": [7] if rank == 2 else [3, 7], "query_lengths": [4] if rank == 2 else [5, 4]}
    mask = RNG.random((5, 7)) > 0.2
    options = {"causal": True, "scale": 0.7, "mask": mask, **lengths}
    result = connect(binary=binary).attention(
        query, key, value, **options, dtype=dtype, returns=[*STATISTICS, "top"], top_k=2
    )
    truth = attend(query, key, value, **options)
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    for name in STATISTICS:
        array = getattr(result, name)
        assert array.dtype == dtype
        np.testing.assert_allclose(array, truth[name], atol=tolerance, rtol=tolerance, err_msg=name)
    np.testing.assert_allclose(result.top_weight[..., 0], truth["max"], atol=tolerance)
    assert result.top_index.dtype == np.int64
    assert np.isneginf(result.lse).any()
    assert result.output.flags.writeable
    assert (result.device, len(result.request_id)) == ("cpu", 32)
    assert set(result.timing) == {"decode", "queue", "compute", "encode"}


@WIRES
def test_what_was_not_asked_for_is_none(connect: Callable[..., Any], binary: bool | None) -> None:
    result = connect(binary=binary).attention(QUERY, KEY, returns="entropy")
    assert result.entropy.shape == (2, 4, 5)
    assert [name for name in (*STATISTICS, "top_index", "top_weight") if getattr(result, name) is not None] == [
        "entropy"
    ]


@WIRES
def test_a_window_is_cut_out_of_weights(connect: Callable[..., Any], binary: bool | None) -> None:
    result = connect(binary=binary).attention(QUERY, KEY, returns=["weights"], queries=(1, 3), keys=(2, 6))
    np.testing.assert_allclose(result.weights, attend(QUERY, KEY)["weights"][..., 1:3, 2:6], atol=1e-6)


def cross_entropy(target: np.ndarray) -> float:
    weights = attend(QUERY[0, 0], KEY[0, 0])["weights"]
    return float(-np.log(weights[np.arange(5), target]).mean())


@WIRES
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_losses_and_gradients_come_over_each_wire(
    connect: Callable[..., Any], binary: bool | None, reduction: str
) -> None:
    target = np.array([0, 3, 2, 6, 1])
    losses = [{"name": "entropy", "label": "spread"}, {"name": "cross_entropy", "target": target, "weight": 0.5}]
    for entries in (losses, losses[:1], losses[1:]):
        result = connect(binary=binary).loss(
            QUERY[0, 0], KEY[0, 0], losses=entries, reduction=reduction, returns=["loss", "per_query", "grad", "lse"]
        )
        truth = {"spread": attend(QUERY[0, 0], KEY[0, 0])["entropy"].mean(), "cross_entropy": cross_entropy(target)}
        labels = [entry.get("label", entry["name"]) for entry in entries]
        assert isinstance(result.loss, float)
        assert list(result.losses) == list(result.per_query) == labels
        for label in labels:
            assert np.ndim(result.losses[label]) == (reduction == "none")
            assert np.mean(result.losses[label]) == pytest.approx(truth[label], abs=1e-5)
            assert result.per_query[label].mean() == pytest.approx(truth[label], abs=1e-5)
        assert result.grad.query.shape == (5, 8)
        assert result.grad.key.shape == (7, 8)
        assert result.grad.value is None
        assert result.lse.shape == (5,)


@WIRES
def test_a_loss_between_two_maps_takes_arrays_of_its_own(connect: Callable[..., Any], binary: bool | None) -> None:
    other = {"query": QUERY[..., ::2], "key": KEY[..., ::2].tolist(), "scale": 0.3}
    result = connect(binary=binary).loss(QUERY, KEY, losses=[{"name": "kl", "other": other}])
    ours, theirs = attend(QUERY, KEY)["weights"], attend(other["query"], other["key"], scale=0.3)["weights"]
    either = [float((a * np.log(a / b)).sum(-1).mean()) for a, b in ((ours, theirs), (theirs, ours))]
    assert result.loss == pytest.approx(either[0], abs=1e-5) or result.loss == pytest.approx(either[1], abs=1e-5)


@WIRES
def test_probability_makes_a_cross_entropy(connect: Callable[..., Any], binary: bool | None) -> None:
    probability = np.full((5, 7), 1 / 7)
    result = connect(binary=binary).loss(
        QUERY[0, 0], KEY[0, 0], VALUE[0, 0], probability=probability, returns=["loss", "grad"]
    )
    assert result.loss == pytest.approx(np.log(7), abs=1e-5)
    assert list(result.losses) == ["cross_entropy"]
    assert result.grad.value.shape == (7, 8)


@WIRES
def test_torch_tensors_are_taken_as_they_are(connect: Callable[..., Any], binary: bool | None) -> None:
    query = torch.tensor(QUERY, requires_grad=True)
    key = torch.tensor(KEY).transpose(-1, -2).contiguous().transpose(-1, -2)
    value = torch.tensor(VALUE).bfloat16()
    result = connect(binary=binary).attention(query, key, value, mask=torch.ones(5, 7, dtype=torch.bool))
    truth = attend(QUERY, KEY, value.double().numpy())
    np.testing.assert_allclose(result.output, truth["output"], atol=1e-5)


def test_lists_are_taken_as_they_are(connect: Callable[..., Any]) -> None:
    result = connect().attention(
        [[1, 0], [0, 1]], [[1, 0], [0, 1]], [[1, 2], [3, 4]], mask=[[True, False], [True, True]]
    )
    np.testing.assert_allclose(result.weights[0], [1, 0])


@pytest.mark.parametrize("binary", [True, False])
def test_a_refusal_carries_the_problem(connect: Callable[..., Any], binary: bool) -> None:
    with pytest.raises(InvalidRequest, match=r"422: (key|KEY): head dim 3") as refused:
        connect(binary=binary).attention(QUERY, KEY[..., :3], VALUE)
    error = refused.value
    assert (error.status, error.problem["status"]) == (422, 422)
    assert error.detail == error.problem["detail"]
    assert error.request_id in str(error)
    if not binary:
        assert error.errors[0]["field"] == "key"


def test_numbers_that_json_cannot_carry_are_named_by_the_service(connect: Callable[..., Any]) -> None:
    with pytest.raises(InvalidRequest, match=r"QUERY\[0\]\[1\].* nan"):
        connect().attention([[1, np.nan]], [[1, 2]], returns=["entropy"])
    with pytest.raises(InvalidRequest, match=r"QUERY\[0\]\[1\].*1e\+39 is beyond|QUERY\[0\]\[1\].* inf"):
        connect(binary=True).attention(np.array([[1, 1e39]]), [[1, 2]], returns=["entropy"])


def wait_for_models(client: Any) -> None:
    give_up_s = time.monotonic() + 60
    while client.models()[0]["state"] == "loading":
        assert time.monotonic() < give_up_s
        time.sleep(0.05)


@pytest.mark.parametrize("binary", [None, False])
def test_text_is_scored_and_its_maps_are_arrays(connect: Callable[..., Any], binary: bool | None) -> None:
    client = connect(binary=binary)
    wait_for_models(client)
    answer = client.loss_text("I love programming", losses=[{"name": "entropy"}], order={"permutations": 2})
    (result,) = answer.results
    assert answer.model == "default"
    assert result["log_probs"][0] is None
    assert result["loss"] == pytest.approx(8.168, abs=1e-2)
    assert result["layers"][0]["losses"]["entropy"].shape == (3,)
    returns = ["weights", "entropy", "lse", "top"]
    answer = client.attention_text(["I love", "a b c"], layers=[-1], heads=[0, 2], returns=returns, top_k=2)
    layer = answer.results[1]["layers"][0]
    assert layer["weights"].shape == (2, 4, 4)
    assert layer["entropy"].dtype == np.float32
    assert layer["top"]["index"].dtype == np.int64
    np.testing.assert_allclose(layer["weights"].sum(-1), 1, atol=1e-5)
    with pytest.raises(NotFound, match=r"404: .*nobody"):
        client.loss_text("a", model="nobody")


def test_what_can_be_asked_for_is_listed(connect: Callable[..., Any]) -> None:
    client = connect()
    assert {"entropy", "kl"} <= {loss["name"] for loss in client.losses()}
    assert client.ready() is True
    assert client.live() is True


def test_where_nothing_listens_nothing_is_ready(make_client: Callable[..., Any]) -> None:
    client = make_client("http://127.0.0.1:9", retries=0)
    assert (client.ready(), client.live()) == (False, False)


def test_a_call_survives_a_restart_of_the_server(
    start_server: Callable[..., Server], make_client: Callable[..., Any]
) -> None:
    first = start_server()
    client = make_client(f"http://127.0.0.1:{first.port}", retries=50)
    client.attention(QUERY, KEY, VALUE)
    assert first.terminate() == 0
    answers: list[Any] = []
    asking = threading.Thread(target=lambda: answers.append(client.attention(QUERY, KEY, VALUE)))
    asking.start()
    start_server(["service.cli", "serve", "--port", str(first.port)])
    asking.join(30)
    np.testing.assert_allclose(answers[0].output, attend(QUERY, KEY, VALUE)["output"], atol=1e-5)


def test_calls_that_find_no_room_come_through_in_the_end(
    start_server: Callable[..., Server], make_client: Callable[..., Any]
) -> None:
    server = start_server(max_queue_jobs=1, cpu_threads=1)
    query = RNG.standard_normal((4000, 4))
    clients = [make_client(f"http://127.0.0.1:{server.port}", retries=50) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda client: client.attention(query, query, returns=["max"]), clients))
    assert [result.max.shape for result in results] == [(4000,)] * 4
    assert 'status="429"' in server.client.get("/metrics").text
