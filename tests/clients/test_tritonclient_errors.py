"""What NVIDIA's client is told of the server, of the models, and of its own mistakes."""

from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from tests.clients.triton_tensors import SHAPE, drawn, inputs


def test_health_and_metadata(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("attention")
    assert client.is_model_ready("loss", "1")
    assert not client.is_model_ready("other")
    server = client.get_server_metadata()
    assert server["name"] == "attnloss"
    assert "binary_tensor_data" in server["extensions"]
    for model in ("attention", "loss"):
        metadata = client.get_model_metadata(model)
        assert {"name", "datatype", "shape"} == set(metadata["inputs"][0])
        assert metadata["name"] == model


def test_the_client_s_own_parameters_are_known(client: triton.InferenceServerClient) -> None:
    result = client.infer(
        "attention",
        inputs(drawn()),
        sequence_id=7,
        sequence_start=True,
        sequence_end=True,
        priority=1,
        timeout=30_000_000,
    )
    assert result.as_numpy("OUTPUT").shape == SHAPE


@pytest.mark.parametrize(
    ("model", "change", "parameters", "status", "words"),
    [
        ("other", {}, {}, "404", "other"),
        ("attention", {}, {"casual": True}, "400", "casual"),
        ("attention", {}, {"reduction": "sum"}, "400", "reduction"),
        ("attention", {}, {"scale": "big"}, "422", "scale"),
        ("attention", {"KEY": np.ones((2, 3, 7, 4), np.float32)}, {}, "422", "KEY"),
        ("attention", {"QUERY": np.full(SHAPE, np.nan, np.float32)}, {}, "422", "QUERY[0][0][0][0]"),
        ("attention", {"QUERY": np.full(SHAPE, 1e39)}, {}, "422", "QUERY"),
        ("attention", {"EXTRA": np.ones(3, np.float32)}, {}, "422", "EXTRA"),
        ("attention", {"KEY_LENGTHS": np.array([8, 1])}, {}, "422", "KEY_LENGTHS[0]"),
        ("attention", {"KEY_LENGTHS": np.array([0.5, 1])}, {}, "422", "KEY_LENGTHS"),
        ("attention", {"MASK": np.ones((7, 7), np.float32)}, {}, "422", "MASK"),
        ("loss", {"TARGET": np.arange(7)}, {"losses": '[{"name": "entropy"}]'}, "422", "TARGET"),
        ("loss", {}, {"losses": "[{"}, "422", "losses"),
    ],
)
def test_errors_reach_the_client_as_its_own_exception(
    client: triton.InferenceServerClient,
    model: str,
    change: dict[str, np.ndarray],
    parameters: dict[str, Any],
    status: str,
    words: str,
) -> None:
    with pytest.raises(InferenceServerException) as raised:
        client.infer(model, inputs(drawn() | change), parameters=parameters)
    assert raised.value.status() == status
    assert words in raised.value.message()


def test_the_client_s_timeout_in_microseconds_is_the_deadline(client: triton.InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException) as raised:
        client.infer("attention", inputs(drawn()), timeout=1)
    assert raised.value.status() == "504"


@pytest.mark.parametrize("name", ["GRAD_QUERYS", "GRAD_MASK", "LOSSES", "PER_QUERY_", "LOSS_other", "output", ""])
def test_an_output_that_the_model_has_not_is_named(client: triton.InferenceServerClient, name: str) -> None:
    with pytest.raises(InferenceServerException) as raised:
        client.infer("loss", inputs(drawn()), outputs=[triton.InferRequestedOutput(name)])
    assert raised.value.status() == "422"
    assert repr(name) in raised.value.message()
