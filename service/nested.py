"""The shape of nested JSON lists: found from the first path, then proven for every row."""

from typing import Any

import numpy as np
import simdjson

from service.errors import Invalid, NotJson, path_of

LONGEST_LIST = 0xFFFFFF - 1
"""simdjson counts the elements of one list in 24 bits and saturates there."""

DEEPEST_LISTS = 64
"""numpy has no more dimensions, and what recurses here stays far from Python's limit."""


def nested_dims(array: simdjson.Array, path: str) -> tuple[int, ...]:
    """The dimensions of a nested list; every list in it has been visited but the innermost numbers.

    Raises:
        NotJson: lists nested deeper than any array.
        Invalid: a list is empty, too long, or as long as no sibling; says the path and both lengths.

    """
    dims: list[int] = []
    level: Any = array
    while isinstance(level, simdjson.Array):
        if len(dims) == DEEPEST_LISTS:
            raise NotJson(f"{path} is nested too deep; the limit is {DEEPEST_LISTS}.")
        if len(level) == 0:
            raise Invalid.field(path_of(path, *[0] * len(dims)), "expected at least one element, came an empty list")
        if len(level) > LONGEST_LIST:
            raise Invalid.field(path, f"a list of more than {LONGEST_LIST} elements; send it as base64")
        dims.append(len(level))
        level = level[0]
    _check_rows(array, dims, path, ())
    return tuple(dims)


def _check_rows(array: simdjson.Array, dims: list[int], path: str, index: tuple[int, ...]) -> None:
    depth = len(index) + 1
    if depth == len(dims):
        return
    expected = dims[depth]
    for i, row in enumerate(array):
        if type(row) is not simdjson.Array:
            raise Invalid.field(path_of(path, *index, i), f"expected a list of {expected}, came a single value")
        if len(row) != expected:
            first = path_of(path, *[0] * depth)
            raise Invalid.field(
                path_of(path, *index, i), f"ragged: expected {expected} elements as in {first}, came {len(row)}"
            )
        if depth + 1 < len(dims):
            _check_rows(row, dims, path, (*index, i))


def verify_rows(array: simdjson.Array, path: str) -> None:
    """Refuse a list among the numbers, which simdjson's buffer would have flattened silently."""
    dims = nested_dims(array, path)
    _verify(array, len(dims) - 1, path, len(dims))


def _verify(array: simdjson.Array, levels_below: int, path: str, rank: int) -> None:
    for i, item in enumerate(array):
        here = path_of(path, i)
        if levels_below and isinstance(item, simdjson.Array):
            _verify(item, levels_below - 1, here, rank)
        elif isinstance(item, simdjson.Array):
            raise Invalid.field(here, f"ragged: expected a number at depth {rank}, came a list of {len(item)}")


def first_stranger(array: simdjson.Array, path: str, levels: int = DEEPEST_LISTS) -> tuple[str, Any]:
    """The path and value of the first element that is neither number nor list, or that is a list too deep."""
    for i, item in enumerate(array):
        here = path_of(path, i)
        if isinstance(item, simdjson.Array) and levels:
            where, stranger = first_stranger(item, here, levels - 1)
            if where:
                return where, stranger
        elif isinstance(item, bool) or not isinstance(item, (int, float)):
            return here, item
    return "", None


def first_leaf(array: simdjson.Array) -> Any:
    """The first element that is no list; an empty list if there is none."""
    level: Any = array
    for _ in range(DEEPEST_LISTS):
        if not isinstance(level, simdjson.Array) or len(level) == 0:
            break
        level = level[0]
    return level


def convert_lists(array: simdjson.Array, dims: tuple[int, ...], path: str) -> np.ndarray:
    """A nested list of booleans, whose rows `nested_dims` has checked, as an array."""
    result = np.empty(dims, np.bool_)
    _fill(result, array, path)
    return result


def _fill(target: np.ndarray, array: simdjson.Array, path: str) -> None:
    if target.ndim > 1:
        for i, row in enumerate(array):
            assert isinstance(row, simdjson.Array), "nested_dims has seen every row"
            _fill(target[i], row, path_of(path, i))
        return
    items = array.as_list()
    for i, item in enumerate(items):
        if item is not True and item is not False:
            raise Invalid.field(path_of(path, i), f"expected true or false, came {type(item).__name__} {item!r:.40}")
    target[:] = items
