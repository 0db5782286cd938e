"""Bytes to tensors and back: JSON documents whose arrays become numpy arrays without a Python float per number.

simdjson parses, its flat buffer becomes the array, and the checks that the buffer skips are made here: that no array is
ragged, that nothing hides in it that is no number, that no key stands twice.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import numpy as np
import orjson
import simdjson

from service.base64tensor import decode_base64_tensor, encode_base64_tensor
from service.errors import Invalid, NotJson, TooLarge, path_of
from service.nested import convert_lists, first_leaf, first_stranger, nested_dims, verify_rows

TensorKind = Literal["float", "number", "bool", "any"]
"""What a tensor field holds: floats; floats or integers, kept apart; booleans; any of these."""

_LARGEST_SLOW_PARSE_BYTES = 1 << 20

MOST_FIELDS = 256
"""Fields of one object; simdjson finds each by searching from the first."""

MOST_PLAIN_ITEMS = 1 << 16
"""Elements of all lists that are no tensors, each of which becomes a Python object."""


MOST_TOKENS = 1 << 23
"""Commas, colons and opening brackets of a body. simdjson holds the interpreter while it parses, some 30 ns for each;
64 MiB of numbers at full precision have half as many."""

MOST_ESCAPES = 1 << 22
"""Backslashes of a body, which take as long; base64 by an encoder that escapes each `/` has 2**20 in 64 MiB."""


def decode_json(body: bytes, tensors: Mapping[str, TensorKind], *, max_depth: int = 64) -> dict[str, Any]:
    """The fields of a JSON object; those that `tensors` names, at any depth, as numpy arrays.

    Floats come as float64, integers (of kind "number") as int64, booleans as bool. A tensor is a nested list or
    `{"shape": [...], "dtype": "float32", "base64": "..."}`, whose dtype is kept (bfloat16 becomes float32).

    Raises:
        NotJson: broken syntax, NaN, numbers beyond double, nesting deeper than `max_depth`.
        TooLarge: more values than are parsed at once.
        Invalid: ragged arrays, elements that are no numbers, duplicated keys; with the path and both lengths.

    """
    _check_density(body)
    try:
        document = simdjson.Parser().parse(body)
    except UnicodeDecodeError:
        raise NotJson("The body is not UTF-8.") from None
    except RuntimeError as error:
        if "BIGINT" not in str(error):
            raise NotJson(f"The body is nested too deep; the limit is {max_depth}.") from None
        document = simdjson.Parser().parse(_with_long_integers_as_floats(body))
    except ValueError as error:
        raise NotJson(f"The body is not JSON: {_first_sentence(error)}.") from None
    if not isinstance(document, simdjson.Object):
        raise Invalid.field("", f"expected a JSON object, came {_type_name(document)}")
    return _Decoder(body, tensors, max_depth).decode(document)


def _check_density(body: bytes) -> None:
    """Refuse what would hold the interpreter. Counting takes time as well: what is too short to be refused is not."""
    if len(body) <= min(MOST_TOKENS, 2 * MOST_ESCAPES):
        return
    tokens = sum(map(body.count, (b",", b":", b"[", b"{")))
    if tokens > MOST_TOKENS:
        raise TooLarge(
            f"The body holds {tokens} commas, colons and opening brackets, the limit is {MOST_TOKENS}; "
            "send base64 tensors, or fewer numbers at once."
        )
    if (escapes := body.count(b"\\")) > MOST_ESCAPES:
        raise TooLarge(f"The body holds {escapes} backslashes, the limit is {MOST_ESCAPES}.")


def encode_json(answer: Mapping[str, Any]) -> bytes:
    """The answer as JSON; arrays are written as nested lists, −inf as null."""
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)


def encode_arrays(value: Any) -> Any:
    """The answer with every array in the base64 form."""
    if isinstance(value, np.ndarray) and value.ndim:
        return encode_base64_tensor(value)
    if isinstance(value, Mapping):
        return {key: encode_arrays(item) for key, item in value.items()}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [encode_arrays(item) for item in value]
    return value


class _Decoder:
    """One document on its way to Python; remembers its arrays to prove at the end that none was overlooked."""

    def __init__(self, body: bytes, tensors: Mapping[str, TensorKind], max_depth: int) -> None:
        self.body = body
        self.tensors = tensors
        self.max_depth = max_depth
        self.arrays_seen = 0
        self.plain_items = 0
        self.flattened: list[tuple[str, simdjson.Array]] = []

    def decode(self, document: simdjson.Object) -> dict[str, Any]:
        fields = self._object(document, "", 1)
        brackets = np.count_nonzero(np.frombuffer(self.body, np.uint8) == ord("["))
        if brackets != self.arrays_seen:
            for path, array in self.flattened:
                verify_rows(array, path)
        return fields

    def _object(self, source: simdjson.Object, path: str, depth: int) -> dict[str, Any]:
        self._check_depth(depth)
        if len(source) > MOST_FIELDS:
            raise Invalid.field(path, f"expected at most {MOST_FIELDS} fields, came {len(source)}")
        fields: dict[str, Any] = {}
        for key in source:
            here = f"{path}.{key}" if path else key
            if key in fields:
                raise Invalid.field(here, "is given twice")
            if "\0" in key:  # simdjson would look up what stands before it
                raise Invalid.field(here, "a name holds no NUL")
            kind = self.tensors.get(key)
            value = source[key]
            fields[key] = self._plain(value, here, depth) if kind is None else self._tensor(value, kind, here, depth)
        return fields

    def _plain(self, value: Any, path: str, depth: int) -> Any:
        if isinstance(value, simdjson.Object):
            return self._object(value, path, depth + 1)
        if isinstance(value, simdjson.Array):
            self._check_depth(depth + 1)
            self.arrays_seen += 1
            self.plain_items += len(value)
            if self.plain_items > MOST_PLAIN_ITEMS:
                raise Invalid.field(path, f"lists that are no tensors may hold {MOST_PLAIN_ITEMS} elements together")
            return [self._plain(item, path_of(path, i), depth + 1) for i, item in enumerate(value)]
        return value

    def _tensor(self, value: Any, kind: TensorKind, path: str, depth: int) -> Any:
        if value is None:
            return None
        if isinstance(value, simdjson.Object):
            return decode_base64_tensor(self._object(value, path, depth + 1), path)
        if not isinstance(value, simdjson.Array):
            raise Invalid.field(path, f"expected a nested list or a base64 tensor, came {_type_name(value)}")
        if kind == "any":
            kind = "bool" if isinstance(first_leaf(value), bool) else "number"
        dims = nested_dims(value, path)
        self._check_depth(depth + len(dims))
        self.arrays_seen += sum(_products(dims[:-1]))
        if kind == "bool":
            return convert_lists(value, dims, path)
        self.flattened.append((path, value))
        array = self._flat(value, kind, path)
        if array.size != _product(dims):
            verify_rows(value, path)
        return array.reshape(dims)

    def _flat(self, value: simdjson.Array, kind: TensorKind, path: str) -> np.ndarray:
        if kind == "number":
            try:
                return np.frombuffer(value.as_buffer(of_type="i"), np.int64)
            except (TypeError, ValueError):
                pass  # not all are integers: read them as floats
        try:
            return np.frombuffer(value.as_buffer(of_type="d"), np.float64)
        except TypeError:
            where, stranger = first_stranger(value, path)
            raise Invalid.field(where, f"expected a number, came {_type_name(stranger)}") from None

    def _check_depth(self, depth: int) -> None:
        if depth > self.max_depth:
            raise NotJson(f"The body is nested {depth} deep; the limit is {self.max_depth}.")


def _products(dims: tuple[int, ...]) -> Iterator[int]:
    total = 1
    yield total
    for dim in dims:
        total *= dim
        yield total


def _product(dims: tuple[int, ...]) -> int:
    *_, total = _products(dims)
    return total


def _with_long_integers_as_floats(body: bytes) -> bytes:
    """The body with integers beyond 64 bits written as floats, as JavaScript prints 1e20 in full."""
    if len(body) > _LARGEST_SLOW_PARSE_BYTES:
        raise NotJson("The body holds an integer beyond 64 bits; write it as a float, as in 1e20.")
    strings_or_integers = rb'"(?:[^"\\]|\\.)*"|(?<![\d.eE+-])-?\d{19,}(?![\d.eE])'
    longer = re.sub(strings_or_integers, lambda m: m[0] if m[0][:1] == b'"' else m[0] + b".0", body)
    try:
        simdjson.Parser().parse(longer)
    except (ValueError, RuntimeError):
        raise NotJson("The body holds a number beyond double, or is nested too deep.") from None
    return longer


def _first_sentence(error: Exception) -> str:
    return str(error).partition(": ")[2].partition(".")[0].strip() or str(error)


def _type_name(value: Any) -> str:
    names = {simdjson.Object: "an object", simdjson.Array: "a list", str: "a string", bool: "a boolean"}
    return names.get(type(value), "null" if value is None else "a number")
