"""Bodies of the Open Inference Protocol that are cut, padded, lied about or scrambled: always 4xx, never more."""

import json
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.serving import Server

LENGTH = "Inference-Header-Content-Length"
PATH = "/v2/models/attention/infer"
TENSOR = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)
RELAXED = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def described(**changes: Any) -> dict[str, Any]:
    names = ("QUERY", "KEY", "VALUE")
    each = {"shape": [2, 3], "datatype": "FP32", "parameters": {"binary_data_size": TENSOR.nbytes}}
    return {"inputs": [{"name": name} | each | (changes if name == "KEY" else {}) for name in names]}


def post(server: Server, head: bytes, binary: bytes, length: Any = None, **headers: str) -> httpx.Response:
    told = {LENGTH: str(len(head) if length is None else length)} | headers
    return server.client.post(PATH, content=head + binary, headers=told)


def refused(answer: httpx.Response, *statuses: int) -> str:
    assert answer.status_code in (statuses or range(400, 500)), answer.text[:300]
    assert list(answer.json()) == ["error"]
    return str(answer.json()["error"])


def test_the_plain_request_is_answered(server: Server) -> None:
    assert post(server, json.dumps(described()).encode(), TENSOR.tobytes() * 3).status_code == 200


@pytest.mark.parametrize("length", ["-1", "+5", "1e2", "0x10", "1 2", "12abc", "9" * 40, "²", "99999"])
def test_a_header_length_that_is_none_is_a_bad_request(server: Server, length: str) -> None:
    head = json.dumps(described()).encode()
    told = {LENGTH.encode(): length.encode("utf-8")}
    answer = server.client.post(PATH, content=head + TENSOR.tobytes() * 3, headers=told)
    refused(answer, 400)


@pytest.mark.parametrize("missing", [1, 4, 24, 71])
def test_a_body_that_is_cut_is_a_bad_request(server: Server, missing: int) -> None:
    body = TENSOR.tobytes() * 3
    refused(post(server, json.dumps(described()).encode(), body[: len(body) - missing]), 400)


def test_a_body_that_is_too_long_is_a_bad_request(server: Server) -> None:
    refused(post(server, json.dumps(described()).encode(), TENSOR.tobytes() * 3 + b"\0"), 400)


@pytest.mark.parametrize("size", [-24, 0, 23, 25, 2**31, 2**63, 2**64, 24.5, "24", True, None, [24]])
def test_a_size_that_is_not_the_tensor_s_is_refused(server: Server, size: Any) -> None:
    head = json.dumps(described(parameters={"binary_data_size": size})).encode()
    refused(post(server, head, TENSOR.tobytes() * 3), 400, 422)


@pytest.mark.parametrize(
    "shape", [[-2, -3], [0], [], [2, 3, 1, 1, 1, 1, 1, 1, 1], [2**62, 2**62], [2.0, 3.0], ["2", "3"], "23", [True, 6]]
)
def test_a_shape_that_cannot_be_is_refused(server: Server, shape: Any) -> None:
    refused(post(server, json.dumps(described(shape=shape)).encode(), TENSOR.tobytes() * 3), 400, 422)


@pytest.mark.parametrize("datatype", ["FP8", "fp32", "BYTES", "UINT64", "", None, 3])
def test_a_datatype_that_is_none_is_refused(server: Server, datatype: Any) -> None:
    assert "datatype" in refused(post(server, json.dumps(described(datatype=datatype)).encode(), TENSOR.tobytes() * 3))


def test_a_tensor_given_twice_or_both_ways_is_refused(server: Server) -> None:
    assert "twice" in refused(post(server, json.dumps(described(name="QUERY")).encode(), TENSOR.tobytes() * 3), 422)
    both = json.dumps(described(data=[0.0] * 6)).encode()
    assert "both" in refused(post(server, both, TENSOR.tobytes() * 3), 400)
    twice = json.dumps(described()).replace('"inputs"', '"inputs": [], "inputs"', 1).encode()
    refused(post(server, twice, TENSOR.tobytes() * 3), 422)


def test_not_even_half_floats_smuggle_infinity_in(server: Server) -> None:
    array = np.array([[1, np.inf, 0], [0, 0, 0]], np.float16)
    head = described(datatype="FP16", parameters={"binary_data_size": array.nbytes})
    body = TENSOR.tobytes() + array.tobytes() + TENSOR.tobytes()
    assert "KEY[0][1]" in refused(post(server, json.dumps(head).encode(), body), 422)


def test_booleans_are_bytes_of_0_and_1(server: Server) -> None:
    mask = {"name": "MASK", "shape": [2, 2], "datatype": "BOOL", "parameters": {"binary_data_size": 4}}
    head = described()
    head["inputs"].append(mask)
    body = json.dumps(head).encode(), TENSOR.tobytes() * 3
    assert post(server, body[0], body[1] + b"\1\0\0\1").status_code == 200
    assert "MASK" in refused(post(server, body[0], body[1] + b"\1\0\0\2"), 422)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_broken_compression_is_a_bad_request(server: Server, coding: str) -> None:
    head = json.dumps(described()).encode()
    refused(post(server, head, TENSOR.tobytes() * 3, **{"content-encoding": coding}), 400)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)


@RELAXED
@given(field=st.sampled_from(["name", "shape", "datatype", "parameters", "data"]), value=_JSON)
def test_any_value_of_any_field_is_answered_or_refused(server: Server, field: str, value: Any) -> None:
    head = json.dumps(described(**{field: value})).encode()
    answer = post(server, head, TENSOR.tobytes() * 3)
    assert answer.status_code == 200 or refused(answer)


@RELAXED
@given(data=st.data())
def test_any_bytes_changed_cut_or_put_in_are_answered_or_refused(server: Server, data: st.DataObject) -> None:
    head = json.dumps(described()).encode()
    body = bytearray(head + TENSOR.tobytes() * 3)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(body) - 1))
        what = data.draw(st.sampled_from(["change", "cut", "insert"]))
        if what == "change":
            body[place] = data.draw(st.integers(0, 255))
        elif what == "cut":
            del body[place : place + data.draw(st.integers(1, 40))]
            body = body or bytearray(b"{")
        else:
            body[place:place] = data.draw(st.binary(max_size=12))
    length = data.draw(st.sampled_from([len(head), 0, len(body), len(body) + 1]) | st.integers(0, 2 * len(body)))
    answer = server.client.post(PATH, content=bytes(body), headers={LENGTH: str(length)})
    assert answer.status_code == 200 or refused(answer)


@RELAXED
@given(body=st.binary(max_size=300), length=st.integers(-5, 400))
def test_noise_is_refused(server: Server, body: bytes, length: int) -> None:
    refused(server.client.post(PATH, content=body, headers={LENGTH: str(length)}))
