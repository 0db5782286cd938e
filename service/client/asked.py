"""What one call asks for, before a wire is chosen: arrays checked, options plain."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

import numpy as np

from service.client.arrays import as_array, narrowed

_TENSORS_OF_A_LOSS = frozenset({"target", "probability", "target_weights", "query", "key"})


@dataclass(frozen=True)
class Asked:
    """A request for tensors.

    Attributes:
        model: which endpoint.
        arrays: query, key, value, mask and probability, those that were given.
        options: everything else that is no array, as the JSON API names it; without what was left at None.
        returns: what is to be answered.
        losses: entries of `losses`, with arrays inside.

    """

    model: Literal["attention", "loss"]
    arrays: dict[str, np.ndarray]
    options: dict[str, Any]
    returns: list[str]
    losses: list[dict[str, Any]] | None = None

    @property
    def bytes_moved(self) -> int:
        """Bytes of the arrays that go out, and of the weights that come back: all else is smaller."""
        sent = sum(array.nbytes for array in (*self.arrays.values(), *arrays_in(self.losses)))
        query, key = self.arrays["query"], self.arrays["key"]
        if "weights" not in self.returns or min(query.ndim, key.ndim) < 2:
            return sent
        windows = (self.options.get("queries"), query.shape[-2]), (self.options.get("keys"), key.shape[-2])
        n, m = (min(size, window[-1] - window[0]) if window else size for window, size in windows)
        return int(sent + 4 * prod(query.shape[:-2]) * n * m)

    @property
    def finite(self) -> bool:
        """Whether JSON can carry the arrays: it has no NaN and no infinity."""
        arrays = (*self.arrays.values(), *arrays_in(self.losses))
        return all(array.dtype.kind != "f" or bool(np.isfinite(array).all()) for array in arrays)


def asked(
    model: Literal["attention", "loss"],
    tensors: Mapping[str, Any],
    options: Mapping[str, Any],
    returns: str | Sequence[str],
    losses: Sequence[Mapping[str, Any]] | None = None,
) -> Asked:
    """The request. Raises TypeError or ValueError for what is no array."""
    dtype = str(options["dtype"])
    needed = ("query", "key")
    arrays = {name: as_array(value, name) for name, value in tensors.items() if value is not None or name in needed}
    for name in ("query", "key", "value"):
        if name in arrays:
            arrays[name] = narrowed(arrays[name], dtype)
    entries = None if losses is None else [plain(entry, f"losses[{i}]") for i, entry in enumerate(losses)]
    plain_options = {name: plain(value, name) for name, value in options.items() if value is not None}
    return Asked(model, arrays, plain_options, [returns] if isinstance(returns, str) else list(returns), entries)


def plain(value: Any, path: str, *, tensor: bool = False) -> Any:
    """The value with arrays where the service takes tensors and lists where it takes lists.

    Raises:
        TypeError: an array of no numbers where a tensor is taken.
        ValueError: a ragged one, or a number that JSON would carry as null.

    """
    if isinstance(value, Mapping):
        return {
            str(name): plain(item, f"{path}.{name}", tensor=name in _TENSORS_OF_A_LOSS) for name, item in value.items()
        }
    is_list = isinstance(value, (list, tuple))
    if tensor and (is_list or hasattr(value, "__array__") or hasattr(value, "detach")):
        return as_array(value, path)
    if is_list:
        return [plain(item, f"{path}[{i}]") for i, item in enumerate(value)]
    if hasattr(value, "detach") or isinstance(value, (np.ndarray, np.generic)):
        value = as_array(value, path).tolist()
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{path}: expected a finite number, came {value}")
    return value


def arrays_in(value: Any) -> Iterator[np.ndarray]:
    """Every array of a tree."""
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from arrays_in(item)
