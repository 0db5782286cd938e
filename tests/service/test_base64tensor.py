import base64
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from service.base64tensor import DTYPES, decode_base64_tensor, encode_base64_tensor
from service.codec import decode_json, encode_arrays
from service.errors import Invalid

shapes = npst.array_shapes(min_dims=1, max_dims=4, max_side=5)
arrays = st.sampled_from([name for name in DTYPES if name != "bfloat16"]).flatmap(
    lambda name: npst.arrays(np.dtype(name), shapes)
)
answers = st.sampled_from([np.float32, np.float64, np.int64]).flatmap(lambda dtype: npst.arrays(dtype, shapes))


def described(array: np.ndarray, **changed: Any) -> dict[str, Any]:
    text = base64.b64encode(array.tobytes()).decode()
    return {"shape": [*array.shape], "dtype": array.dtype.name, "base64": text} | changed


def refusal(fields: dict[str, Any]) -> tuple[str, str]:
    with pytest.raises(Invalid) as caught:
        decode_base64_tensor(fields, "query")
    (problem,) = caught.value.errors
    return problem.field, problem.message


@given(arrays)
def test_arrays_of_every_dtype_are_read_bit_for_bit(array: np.ndarray) -> None:
    came = decode_base64_tensor(described(array), "query")
    assert (came.dtype, came.shape, came.tobytes()) == (array.dtype, array.shape, array.tobytes())


@given(answers)
def test_an_encoded_array_decodes_to_itself(array: np.ndarray) -> None:
    body = orjson.dumps(encode_arrays({"loss": 1.0, "losses": {"query": array}}))
    came = decode_json(body, {"query": "float"})["losses"]["query"]
    assert (came.dtype, came.shape, came.tobytes()) == (array.dtype, array.shape, array.tobytes())


@given(npst.arrays(np.float32, shapes, elements=st.floats(width=32)))
def test_arrays_that_are_not_contiguous_are_encoded_in_row_major_order(array: np.ndarray) -> None:
    came = decode_base64_tensor(encode_base64_tensor(array.T), "query")
    np.testing.assert_array_equal(came, array.T)


@given(npst.arrays(np.uint16, shapes))
def test_bfloat16_is_widened_to_the_float32_of_the_same_upper_bits(bits: np.ndarray) -> None:
    came = decode_base64_tensor(described(bits, dtype="bfloat16"), "query")
    assert came.dtype == np.float32
    np.testing.assert_array_equal(came.view(np.uint32), bits.astype(np.uint32) << 16)


def test_numbers_lie_little_endian_and_row_major() -> None:
    fields = {"shape": [2, 2], "dtype": "int32", "base64": base64.b64encode(bytes([1, 0, 0, 0] * 2 + [2, 1, 0, 0] * 2))}
    came = decode_base64_tensor(fields | {"base64": fields["base64"].decode()}, "query")
    np.testing.assert_array_equal(came, [[1, 1], [258, 258]])


@given(arrays, st.integers(1, 12))
def test_truncated_base64_is_refused(array: np.ndarray, missing: int) -> None:
    text = described(array)["base64"]
    refusal(described(array, base64=text[:-missing]))


@given(arrays, st.integers(-3, 3).filter(bool))
def test_a_wrong_number_of_bytes_is_refused_with_both_sizes(array: np.ndarray, more: int) -> None:
    data = array.tobytes() + bytes(more) if more > 0 else array.tobytes()[:more]
    where, message = refusal(described(array, base64=base64.b64encode(data).decode()))
    assert where == "query"
    assert f"is {array.nbytes} bytes, base64 holds {len(data)}" in message


@pytest.mark.parametrize("shape", [[2**62, 2**62, 4], [2**32, 2**32], [2**63], [65536] * 4])
def test_a_shape_whose_product_overflows_64_bits_is_refused_by_its_size(shape: list[int]) -> None:
    assert refusal(described(np.ones(1, np.float32), shape=shape))[0] == "query"


@pytest.mark.parametrize("shape", [[0], [-1], [2, -2], [1.0], [True], ["1"], [None], [[1]], 1, None, "1", {}])
def test_a_shape_that_is_no_list_of_positive_integers_is_refused(shape: Any) -> None:
    assert refusal(described(np.ones(1, np.float32), shape=shape))[0] == "query.shape"


@pytest.mark.parametrize("dtype", ["float", "<f4", "int8", "", None, 4, ["float32"], {"a": 1}])
def test_an_unknown_dtype_is_refused(dtype: Any) -> None:
    assert refusal(described(np.ones(1, np.float32), dtype=dtype))[0] == "query.dtype"


@pytest.mark.parametrize("text", [None, 7, ["AACAPw=="], True])
def test_base64_that_is_no_string_is_refused(text: Any) -> None:
    assert refusal(described(np.ones(1, np.float32), base64=text))[0] == "query.base64"


@pytest.mark.parametrize("text", ["AACA\nPw==", "AACA!w==", "AAC=Pw==", "ÄACAPw==", "-_CAPw==", "AACAPw=A", "    Pw=="])
def test_text_that_is_no_base64_is_refused(text: str) -> None:
    assert refusal(described(np.ones(1, np.float32), base64=text))[0].startswith("query")


@pytest.mark.parametrize("key", ["shape", "dtype", "base64"])
def test_a_missing_key_is_named(key: str) -> None:
    fields = described(np.ones(1, np.float32))
    del fields[key]
    assert refusal(fields)[0] == f"query.{key}"


def test_an_unknown_key_is_named() -> None:
    assert refusal(described(np.ones(1, np.float32), order="C"))[0] == "query.order"


def test_bytes_that_are_no_booleans_are_refused() -> None:
    fields = described(np.array([0, 1, 2], np.uint8), dtype="bool")
    assert refusal(fields)[0] == "query.base64"


def test_a_tensor_without_dimensions_is_refused_or_a_scalar() -> None:
    came = decode_base64_tensor(described(np.array(1.5, np.float32)), "query")
    assert came.ndim == 0
