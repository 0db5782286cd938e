"""NVIDIA's own client of the Open Inference Protocol, unmodified."""

import asyncio
import json
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio

from tests.clients.triton_tensors import NAMES, SHAPE, drawn, inputs, truth
from tests.serving import Server


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_every_output_is_right_whether_tensors_are_binary_or_json(
    client: triton.InferenceServerClient, binary_in: bool, binary_out: bool
) -> None:
    arrays = drawn()
    outputs = [triton.InferRequestedOutput(name, binary_data=binary_out) for name in NAMES]
    result = client.infer("attention", inputs(arrays, binary=binary_in), outputs=outputs, request_id="mine")
    assert result.get_response()["id"] == "mine"
    expected = truth(arrays)
    for name, ours in NAMES.items():
        assert ("data" in result.get_output(name)) != binary_out
        np.testing.assert_allclose(result.as_numpy(name), expected[ours], atol=2e-6)


@pytest.mark.parametrize("binary", [True, False])
def test_without_outputs_output_and_weights_come_in_binary(client: triton.InferenceServerClient, binary: bool) -> None:
    arrays = drawn()
    result = client.infer("attention", inputs(arrays, binary=binary))
    assert [output["name"] for output in result.get_response()["outputs"]] == ["OUTPUT", "WEIGHTS"]
    assert all("binary_data_size" in output["parameters"] for output in result.get_response()["outputs"])
    np.testing.assert_allclose(result.as_numpy("WEIGHTS"), truth(arrays)["weights"], atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, ml_dtypes.bfloat16, np.int64, np.int32, np.int8])
def test_every_datatype_is_read_as_what_it_is(client: triton.InferenceServerClient, dtype: Any) -> None:
    arrays = {name: (2 * array).astype(dtype) for name, array in drawn().items()}
    result = client.infer("attention", inputs(arrays), outputs=[triton.InferRequestedOutput("OUTPUT")])
    np.testing.assert_allclose(result.as_numpy("OUTPUT"), truth(arrays)["output"], atol=1e-5)


def test_float64_is_computed_and_answered_in_float64_if_asked(client: triton.InferenceServerClient) -> None:
    arrays = drawn(np.float64)
    result = client.infer("attention", inputs(arrays), parameters={"dtype": "float64"})
    assert result.get_output("WEIGHTS")["datatype"] == "FP64"
    np.testing.assert_allclose(result.as_numpy("WEIGHTS"), truth(arrays)["weights"], atol=1e-14)


@pytest.mark.parametrize("sent", [None, "gzip", "deflate"])
@pytest.mark.parametrize("received", [None, "gzip", "deflate"])
def test_compression_both_ways(client: triton.InferenceServerClient, sent: str | None, received: str | None) -> None:
    arrays = drawn(shape=(1, 4, 31, 16))
    result = client.infer(
        "attention",
        inputs(arrays),
        request_compression_algorithm=sent,
        response_compression_algorithm=received,
    )
    np.testing.assert_allclose(result.as_numpy("OUTPUT"), truth(arrays)["output"], atol=2e-6)


def test_masks_lengths_causality_and_scale(client: triton.InferenceServerClient) -> None:
    arrays = drawn()
    mask = np.random.default_rng(1).random((7, 7)) < 0.7
    lengths = {"KEY_LENGTHS": np.array([6, 7], np.int32), "QUERY_LENGTHS": np.array([7, 4], np.int64)}
    options = {"causal": True, "scale": 0.3}
    sent = inputs(arrays | {"MASK": mask} | lengths)
    outputs = [triton.InferRequestedOutput(name) for name in ("WEIGHTS", "LSE")]
    result = client.infer("attention", sent, outputs=outputs, parameters=options)
    ms, ns = lengths["KEY_LENGTHS"], lengths["QUERY_LENGTHS"]
    expected = truth(arrays, mask=mask, key_lengths=ms, query_lengths=ns, **options)
    np.testing.assert_allclose(result.as_numpy("WEIGHTS"), expected["weights"], atol=1e-6)
    np.testing.assert_allclose(result.as_numpy("LSE"), expected["lse"], atol=1e-5)
    assert np.isneginf(result.as_numpy("LSE")).any(), "a fully masked query has −inf in binary"


def test_the_strongest_keys(client: triton.InferenceServerClient) -> None:
    arrays = drawn()
    outputs = [triton.InferRequestedOutput(name) for name in ("TOP_INDEX", "TOP_WEIGHT")]
    result = client.infer("attention", inputs(arrays), outputs=outputs, parameters={"top_k": 2})
    weights = truth(arrays)["weights"]
    assert np.array_equal(result.as_numpy("TOP_INDEX"), np.argsort(-weights, axis=-1)[..., :2])
    np.testing.assert_allclose(result.as_numpy("TOP_WEIGHT"), -np.sort(-weights, axis=-1)[..., :2], atol=1e-6)


def test_a_window_of_the_weights_as_a_list_or_as_text(client: triton.InferenceServerClient) -> None:
    arrays = drawn()
    for queries in ([2, 5], "[2, 5]"):
        result = client.infer("attention", inputs(arrays), parameters={"queries": queries})
        np.testing.assert_allclose(result.as_numpy("WEIGHTS"), truth(arrays)["weights"][:, :, 2:5], atol=1e-6)


def test_a_loss_with_its_values_per_query_and_its_gradients(
    client: triton.InferenceServerClient, server: Server
) -> None:
    arrays = drawn()
    target = np.random.default_rng(2).integers(0, 7, (2, 3, 7))
    losses = [{"name": "cross_entropy", "label": "aligned"}, {"name": "entropy", "weight": 0.5}]
    names = ["LOSS", "LOSS_entropy", "PER_QUERY_aligned", "GRAD_QUERY", "GRAD_KEY"]
    result = client.infer(
        "loss",
        inputs({"QUERY": arrays["QUERY"], "KEY": arrays["KEY"], "TARGET": target}),
        outputs=[triton.InferRequestedOutput(name) for name in names],
        parameters={"losses": json.dumps(losses)},
    )
    losses[0]["target"] = target.tolist()
    body = {"query": arrays["QUERY"].tolist(), "key": arrays["KEY"].tolist(), "losses": losses}
    expected = server.post("/loss", body | {"return": ["loss", "per_query", "grad"]})
    assert result.as_numpy("LOSS").shape == (1,)
    assert result.as_numpy("LOSS")[0] == pytest.approx(expected["loss"], rel=1e-6)
    assert result.as_numpy("LOSS_entropy")[0] == pytest.approx(expected["losses"]["entropy"], rel=1e-6)
    np.testing.assert_allclose(result.as_numpy("PER_QUERY_aligned"), expected["per_query"]["aligned"], rtol=1e-5)
    np.testing.assert_allclose(result.as_numpy("GRAD_QUERY"), expected["grad"]["query"], atol=1e-7)
    np.testing.assert_allclose(result.as_numpy("GRAD_KEY"), expected["grad"]["key"], atol=1e-7)


def test_target_probability_and_the_other_map_reach_their_losses(
    client: triton.InferenceServerClient, server: Server
) -> None:
    arrays = drawn(shape=(7, 5))
    pair = {"QUERY": arrays["QUERY"], "KEY": arrays["KEY"]}
    rows = np.random.default_rng(3).dirichlet(np.ones(7), 7)
    body = {"query": arrays["QUERY"].tolist(), "key": arrays["KEY"].tolist()}
    other = {"query": arrays["KEY"].tolist(), "key": arrays["VALUE"].tolist()}
    for extra, parameters, more in (
        ({"TARGET": np.arange(7)}, {}, {"losses": [{"name": "cross_entropy", "target": list(range(7))}]}),
        ({"PROBABILITY": rows}, {}, {"probability": rows.tolist()}),
        (
            {"OTHER_QUERY": arrays["KEY"], "OTHER_KEY": arrays["VALUE"]},
            {"losses": '[{"name": "kl"}]'},
            {"losses": [{"name": "kl", "other": other}]},
        ),
    ):
        result = client.infer("loss", inputs(pair | extra), parameters=parameters)
        assert result.as_numpy("LOSS")[0] == pytest.approx(server.post("/loss", body | more)["loss"], rel=1e-5)


def test_requests_in_flight_get_each_its_own_answer(client: triton.InferenceServerClient) -> None:
    sent = [drawn(shape=(1, 2, n, 4)) for n in range(2, 18)]
    pending = [client.async_infer("attention", inputs(arrays)) for arrays in sent]
    for arrays, waiting in zip(sent, pending, strict=True):
        np.testing.assert_allclose(waiting.get_result().as_numpy("OUTPUT"), truth(arrays)["output"], atol=2e-6)


def test_the_asyncio_client(server: Server) -> None:
    async def ask() -> np.ndarray:
        async with triton_aio.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
            assert await client.is_server_ready()
            results = await asyncio.gather(*(client.infer("attention", inputs(drawn())) for _ in range(8)))
            return np.stack([result.as_numpy("OUTPUT") for result in results])

    np.testing.assert_allclose(asyncio.run(ask()), np.broadcast_to(truth(drawn())["output"], (8, *SHAPE)), atol=2e-6)
