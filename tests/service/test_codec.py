import json
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from service.codec import decode_json, encode_json
from service.errors import Invalid, NotJson

FIELDS: dict[str, Any] = {"query": "float", "target": "number", "mask": "bool"}

shapes = npst.array_shapes(min_dims=1, max_dims=4, max_side=5)


def finite(dtype: type, width: int) -> st.SearchStrategy[np.ndarray]:
    elements = st.floats(width=width, allow_nan=False, allow_infinity=False)
    return npst.arrays(dtype, shapes, elements=elements)


def decoded(text: str | bytes, **options: Any) -> dict[str, Any]:
    return decode_json(text.encode() if isinstance(text, str) else text, FIELDS, **options)


def refusal(text: str | bytes) -> tuple[str, str]:
    with pytest.raises(Invalid) as caught:
        decoded(text)
    (problem,) = caught.value.errors
    return problem.field, problem.message


@given(finite(np.float64, 64))
def test_float64_arrays_survive_json(array: np.ndarray) -> None:
    came = decoded(encode_json({"query": array}))["query"]
    assert came.dtype == np.float64
    np.testing.assert_array_equal(came, array, strict=True)


@given(finite(np.float32, 32))
def test_float32_arrays_survive_json_exactly_after_the_cast(array: np.ndarray) -> None:
    came = decoded(encode_json({"query": array}))["query"].astype(np.float32)
    np.testing.assert_array_equal(came, array, strict=True)


@given(npst.arrays(np.int64, shapes))
def test_integers_of_a_target_stay_integers(array: np.ndarray) -> None:
    came = decoded(orjson.dumps({"target": array.tolist()}))["target"]
    np.testing.assert_array_equal(came, array, strict=True)


@given(npst.arrays(np.bool_, shapes))
def test_masks_are_arrays_of_booleans(array: np.ndarray) -> None:
    came = decoded(orjson.dumps({"mask": array.tolist()}))["mask"]
    np.testing.assert_array_equal(came, array, strict=True)


@given(st.data(), npst.array_shapes(min_dims=2, max_dims=4, min_side=2, max_side=4), st.sampled_from([*FIELDS]))
def test_an_array_with_one_row_of_another_length_is_refused_with_its_path_and_both_lengths(
    data: st.DataObject, shape: tuple[int, ...], field: str
) -> None:
    depth = data.draw(st.integers(1, len(shape) - 1))
    place = [data.draw(st.integers(0, size - 1)) for size in shape[:depth]]
    place[-1] = data.draw(st.integers(1, shape[depth - 1] - 1)) if not any(place) else place[-1]
    rows = np.ones(shape, np.bool_ if field == "mask" else np.int64).tolist()
    row = rows
    for i in place:
        row = row[i]
    row.append(row[0])
    where, message = refusal(orjson.dumps({field: rows}))
    assert where == field + "".join(f"[{i}]" for i in place)
    assert f"expected {shape[depth]} elements" in message
    assert f"came {shape[depth] + 1}" in message


@pytest.mark.parametrize(
    ("rows", "where"),
    [
        ("[[1,[2]],[3,4]]", "query[0][1]"),
        ("[1,[2],3]", "query[1]"),
        ("[[1,2],[3,[4]]]", "query[1][1]"),
        ("[[1,[2,3]],[4]]", "query[1]"),
        ("[[1],[[2]]]", "query[1][0]"),
        ("[1,[],2]", "query[1]"),
        ("[[1,2],[[],3]]", "query[1][0]"),
    ],
)
@pytest.mark.parametrize("text", ["plain", "[[["])
def test_a_list_hidden_among_the_numbers_is_refused(rows: str, where: str, text: str) -> None:
    assert refusal(f'{{"label": "{text}", "query": {rows}}}')[0] == where


def test_brackets_inside_strings_change_nothing() -> None:
    fields = decoded('{"label": "[[[ \\" [", "query": [[1, 2]], "[": {"query": [3]}}')
    np.testing.assert_array_equal(fields["query"], [[1.0, 2.0]])
    np.testing.assert_array_equal(fields["["]["query"], [3.0])


@pytest.mark.parametrize(
    ("item", "name"), [('"7"', "a string"), ("null", "null"), ("true", "a boolean"), ('{"a": 1}', "an object")]
)
@pytest.mark.parametrize("field", ["query", "target"])
def test_what_is_no_number_among_numbers_is_named_with_its_path(item: str, name: str, field: str) -> None:
    for rows, where in ((f"[[1, 2], [3, {item}]]", "[1][1]"), (f"[[{item}, 2]]", "[0][0]"), (f"[{item}]", "[0]")):
        came, message = refusal(f'{{"{field}": {rows}}}')
        assert came == field + where
        assert name in message


@pytest.mark.parametrize(("item", "name"), [('"true"', "str"), ("null", "None"), ("1", "int"), ("0.5", "float")])
def test_what_is_no_boolean_in_a_mask_is_named_with_its_path(item: str, name: str) -> None:
    where, message = refusal(f'{{"mask": [[true, false], [true, {item}]]}}')
    assert where == "mask[1][1]"
    assert name in message


@pytest.mark.parametrize("value", ["7", '"text"', "true"])
def test_a_tensor_that_is_no_list_is_refused(value: str) -> None:
    assert refusal(f'{{"query": {value}}}')[0] == "query"


@pytest.mark.parametrize(("rows", "where"), [("[]", "query"), ("[[]]", "query[0]"), ("[[[]]]", "query[0][0]")])
def test_an_empty_list_is_refused_with_its_path(rows: str, where: str) -> None:
    assert refusal(f'{{"query": {rows}}}')[0] == where


def test_a_null_tensor_is_none() -> None:
    assert decoded('{"query": null}') == {"query": None}


def test_a_target_with_one_float_is_floats() -> None:
    assert decoded('{"target": [1, 2.0]}')["target"].dtype == np.float64


def test_integers_of_a_float_field_become_floats() -> None:
    assert decoded('{"query": [1, 2]}')["query"].dtype == np.float64


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('{"a": 1, "a": 1}', "a"),
        ('{"query": [1], "query": [1]}', "query"),
        ('{"losses": [{"b": {"c": 1, "c": 2}}]}', "losses[0].b.c"),
        ('{"query": {"shape": [1], "shape": [1]}}', "query.shape"),
        ('{"a": 1, "\\u0061": 1}', "a"),
    ],
)
def test_a_key_given_twice_is_refused_at_every_level(text: str, where: str) -> None:
    assert refusal(text) == (where, "is given twice")


@pytest.mark.parametrize("digits", ["100000000000000000000", "-100000000000000000000", "9" * 60])
def test_integers_beyond_64_bits_are_read_as_floats(digits: str) -> None:
    fields = decoded(f'{{"label": "{digits}", "query": [[{digits}, 1]], "scale": {digits}}}')
    assert fields["label"] == digits
    assert fields["scale"] == float(digits)
    np.testing.assert_array_equal(fields["query"], [[float(digits), 1.0]])


@pytest.mark.parametrize("digits", [2**63 - 1, 2**63, 2**64 - 1])
def test_integers_around_64_bits_are_numbers(digits: int) -> None:
    assert float(decoded(f'{{"target": [{digits}]}}')["target"][0]) == float(digits)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "{",
        '{"a"}',
        '{"a": NaN}',
        '{"query": [NaN]}',
        '{"a": Infinity}',
        '{"a": -Infinity}',
        '{"a": 1e400}',
        '{"a": 01}',
        '{"a": 1,}',
        "{'a': 1}",
        '{"a": 1} {}',
        '{"a": ' + "9" * 400 + "}",
        '{"a": "\\ud800"}',
    ],
)
def test_what_is_no_json_is_refused_as_such(text: str) -> None:
    with pytest.raises(NotJson):
        decoded(text)


@pytest.mark.parametrize("text", [b'{"\xff": 1}', b'{"a": "\xc3("}'])
def test_a_body_that_is_no_utf_8_is_refused_as_no_json(text: bytes) -> None:
    with pytest.raises(NotJson):
        decoded(text)


@pytest.mark.parametrize("text", ["[1]", "7", '"text"', "null", "true"])
def test_a_document_that_is_no_object_is_refused(text: str) -> None:
    assert refusal(text)[0] == ""


def nested(levels: int, inner: str = "1") -> str:
    return "[" * levels + inner + "]" * levels


@pytest.mark.parametrize("field", ["query", "mask", "other"])
def test_nesting_is_refused_one_level_beyond_the_limit(field: str) -> None:
    inner = "true" if field == "mask" else "1"
    assert field in decoded(f'{{"{field}": {nested(7, inner)}}}', max_depth=8)
    with pytest.raises(NotJson, match="the limit is 8"):
        decoded(f'{{"{field}": {nested(8, inner)}}}', max_depth=8)


@pytest.mark.parametrize("levels", [900, 1000, 1020, 5000, 100_000])
@pytest.mark.parametrize("lead", ["", "1,", '"a",'])
@pytest.mark.parametrize("field", ["query", "target", "mask", "other"])
def test_nesting_beyond_any_limit_is_refused_in_order(field: str, lead: str, levels: int) -> None:
    for inner in ("1", '"a"'):
        with pytest.raises((NotJson, Invalid)):
            decoded(f'{{"{field}": [{lead}{nested(levels, inner)}]}}')
        with pytest.raises((NotJson, Invalid)):
            decoded(f'{{"{field}": ' + '{"a":' * levels + inner + "}" * levels + "}")


@given(st.recursive(st.none() | st.booleans() | st.integers(0, 9), lambda x: st.lists(x, max_size=3), max_leaves=9))
def test_lists_of_numbers_are_accepted_exactly_where_they_are_rectangular(tree: Any) -> None:
    try:
        expected = np.array(tree, np.int64 if _all_integers(tree) else object)
    except ValueError:
        expected = np.array(None, object)
    if expected.dtype == np.int64 and expected.ndim and expected.size:
        np.testing.assert_array_equal(decoded(json.dumps({"target": tree}))["target"], expected, strict=True)
    elif tree is not None:
        refusal(json.dumps({"target": tree}))


def _all_integers(tree: Any) -> bool:
    return all(map(_all_integers, tree)) if isinstance(tree, list) else type(tree) is int


def test_minus_infinity_is_written_as_null() -> None:
    assert encode_json({"lse": np.array([1.5, -np.inf], np.float32)}) == b'{"lse":[1.5,null]}'


def test_numbers_of_numpy_are_written_as_numbers() -> None:
    assert encode_json({"loss": np.float32(0.1), "index": np.array([[-1]])}) == b'{"loss":0.1,"index":[[-1]]}'
