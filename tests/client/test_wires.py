"""What the client writes: arrays in both forms, the bytes of the protocol, and which wire a request takes."""

from typing import Any

import httpx
import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from service.base64tensor import decode_base64_tensor
from service.client import Client
from service.client.arrays import DTYPES, as_array, decode_base64, encode_base64
from service.client.oip import HEADER_LENGTH

SENT = st.sampled_from(["<f4", ">f4", "<f8", ">f8", "<f2", "?", "i1", "<u2", "<i4", ">i8", "<u4"])
SHAPES = arrays.array_shapes(min_dims=1, max_dims=4, max_side=4)


@given(SENT.flatmap(lambda dtype: arrays.arrays(dtype, SHAPES)), st.booleans())
def test_an_array_comes_back_from_base64_as_it_was(array: np.ndarray, transposed: bool) -> None:
    array = array.T if transposed else array
    sent = as_array(array, "query")
    assert sent.dtype.name in DTYPES
    np.testing.assert_array_equal(sent, array)
    back = decode_base64(encode_base64(sent))
    np.testing.assert_array_equal(back, array)
    np.testing.assert_array_equal(decode_base64_tensor(encode_base64(sent), "query"), array)


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        ([[1, 2], [3]], ValueError, "query: expected an array, or lists of equal lengths"),
        ([[1, "a"]], TypeError, "query: expected real numbers"),
        (np.array([object()]), TypeError, "query: expected real numbers"),
        (np.array([1j]), TypeError, "query: expected real numbers"),
        (None, TypeError, "query: expected real numbers"),
        (np.array([2**63], np.uint64), ValueError, "query: holds 9223372036854775808, which is beyond int64"),
    ],
)
def test_what_is_no_array_of_numbers_is_refused_by_its_name(
    make_client: Any, script: Any, value: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        make_client(transport=script(httpx.ReadError("")).transport()).attention(value, [[1.0]])


def test_an_array_within_a_loss_is_named_by_its_place(make_client: Any, script: Any) -> None:
    client = make_client(transport=script(httpx.ReadError("")).transport())
    with pytest.raises(ValueError, match=r"losses\[0\]\.other\.key: "):
        client.loss([[1.0]], [[1.0]], losses=[{"name": "kl", "other": {"query": [[1.0]], "key": [[1], [1, 2]]}}])
    with pytest.raises(ValueError, match="scale: expected a finite number, came nan"):
        client.attention([[1.0]], [[1.0]], scale=float("nan"))


def framed(*outputs: tuple[str, str, np.ndarray]) -> httpx.Response:
    listed = [
        {"name": name, "datatype": datatype, "shape": array.shape, "parameters": {"binary_data_size": array.nbytes}}
        for name, datatype, array in outputs
    ]
    head = orjson.dumps({"model_name": "m", "parameters": {"backend": "flash", "device": "cpu"}, "outputs": listed})
    content = head + b"".join(array.tobytes() for _, _, array in outputs)
    return httpx.Response(200, content=content, headers={HEADER_LENGTH: str(len(head))})


def parts_of(request: httpx.Request) -> tuple[dict[str, Any], bytes]:
    size = int(request.headers[HEADER_LENGTH])
    return orjson.loads(request.content[:size]), request.content[size:]


def test_binary_arrays_lie_behind_the_header_as_the_protocol_has_them(make_client: Any, script: Any) -> None:
    output, lse = np.arange(4, dtype="<f4").reshape(2, 2), np.array([-np.inf, 1], "<f4")
    answers = script(framed(("OUTPUT", "FP32", output), ("LSE", "FP32", lse)))
    query, key = np.arange(4.0).reshape(2, 2), np.arange(6, dtype=np.float16).reshape(3, 2)
    result = make_client(transport=answers.transport(), binary=True).attention(
        query, key, key, mask=[[True, False, True]], key_lengths=(3,), causal=True, returns=["output", "lse"]
    )
    (request,) = answers.requests
    assert request.url.path == "/v2/models/attention/infer"
    head, binary = parts_of(request)
    told = [(each["name"], each["datatype"], each["shape"], each["parameters"]) for each in head["inputs"]]
    assert told == [
        ("QUERY", "FP32", [2, 2], {"binary_data_size": 16}),
        ("KEY", "FP16", [3, 2], {"binary_data_size": 12}),
        ("VALUE", "FP16", [3, 2], {"binary_data_size": 12}),
        ("MASK", "BOOL", [1, 3], {"binary_data_size": 3}),
        ("KEY_LENGTHS", "INT64", [1], {"binary_data_size": 8}),
    ]
    assert binary == query.astype("<f4").tobytes() + key.tobytes() * 2 + b"\1\0\1" + np.array([3], "<i8").tobytes()
    assert head["outputs"] == [{"name": "OUTPUT"}, {"name": "LSE"}]
    assert head["parameters"] == {"causal": True, "dtype": "float32", "binary_data_output": True}
    np.testing.assert_array_equal(result.output, output)
    np.testing.assert_array_equal(result.lse, lse)
    assert (result.backend, result.device) == ("flash", "cpu")


def test_arrays_of_a_single_loss_become_inputs(make_client: Any, script: Any) -> None:
    one = np.ones(1, "<f4")
    answers = script(
        framed(("LOSS", "FP32", one), ("LOSS_a", "FP32", one), ("GRAD_QUERY", "FP32", one), ("GRAD_KEY", "FP32", one))
    )
    losses = [{"name": "cross_entropy", "target": [0], "label": "a"}]
    result = make_client(transport=answers.transport(), binary=True).loss(
        [[1.0]], [[1.0]], losses=losses, returns=["loss", "grad"]
    )
    head, _ = parts_of(answers.requests[0])
    assert [each["name"] for each in head["inputs"]] == ["QUERY", "KEY", "TARGET"]
    assert orjson.loads(head["parameters"]["losses"]) == [{"name": "cross_entropy", "label": "a"}]
    assert (result.loss, result.losses, result.grad.value) == (1.0, {"a": 1.0}, None)
    assert losses[0]["target"] == [0], "the caller's entries stay as they were"


LARGE = np.zeros((256, 32), np.float32)
SMALL = np.zeros((4, 2), np.float32)
TARGET = {"name": "cross_entropy", "target": np.zeros(256, np.int64)}


@pytest.mark.parametrize(
    ("method", "query", "options", "path", "encoding"),
    [
        ("attention", SMALL, {}, "/attention", None),
        ("attention", LARGE, {}, "/v2/models/attention/infer", None),
        ("attention", np.zeros((256, 1)), {"returns": ["entropy"]}, "/attention", None),
        ("attention", np.zeros((256, 1)), {"returns": ["weights"]}, "/v2/models/attention/infer", None),
        ("attention", np.zeros((256, 1)), {"returns": ["weights"], "queries": [0, 2]}, "/attention", None),
        ("attention", SMALL * np.nan, {}, "/v2/models/attention/infer", None),
        ("loss", SMALL, {"losses": [{"name": "entropy"}]}, "/loss", None),
        ("loss", LARGE, {}, "/v2/models/loss/infer", None),
        ("loss", LARGE, {"losses": [{"name": "entropy"}, {"name": "guided"}]}, "/v2/models/loss/infer", None),
        ("loss", LARGE, {"losses": [TARGET]}, "/v2/models/loss/infer", None),
        ("loss", LARGE, {"losses": [TARGET, {"name": "entropy"}]}, "/loss", "base64"),
        ("loss", LARGE, {"losses": [TARGET | {"target_weights": np.ones(256)}]}, "/loss", "base64"),
        ("loss", LARGE, {"reduction": "none"}, "/loss", "base64"),
    ],
)
def test_the_wire_follows_from_size_and_losses(
    script: Any, method: str, query: np.ndarray, options: dict[str, Any], path: str, encoding: str | None
) -> None:
    answers = script(httpx.Response(422, json={"detail": "no"}))
    with Client(transport=answers.transport()) as client, pytest.raises(Exception, match="422"):
        getattr(client, method)(query, query, **options)
    (request,) = answers.requests
    assert request.url.path == path
    if not path.startswith("/v2"):
        assert orjson.loads(request.content).get("encoding") == encoding
