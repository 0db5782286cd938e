"""Losses that are one value per head or batch entry, and the reductions."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.library.losses.definitions import PER_QUERY, Map
from tests.library.losses.solvers import Array, ctc


def _doubly_stochastic(x: Map, entry: int, head: int) -> float:
    received = x.weights(entry, head).sum(0)[: x.keys[entry]]
    return float(((1 - received) ** 2).sum())


def _forward_sum(x: Map, entry: int, head: int, blank: float = -1.0) -> float:
    valid = x.valid(entry, head)
    return ctc(x.weights(entry, head)[valid, : x.keys[entry]], blank) if valid else 0.0


def _disagreement(x: Map, entry: int) -> float:
    maps = [x.weights(entry, head) for head in range(x.scores.shape[1]) if x.valid(entry, head)]
    cosines = [
        (one * two).sum() / np.sqrt((one**2).sum() * (two**2).sum())
        for place, one in enumerate(maps)
        for two in maps[place + 1 :]
    ]
    return float(np.mean(cosines)) if cosines else 0.0


def _orthogonality(x: Map, entry: int) -> float:
    heads = range(x.scores.shape[1])
    squares = []
    for i in range(x.scores.shape[2]):
        seeing = [head for head in heads if x.allowed[entry, head, i].any()]
        if seeing:
            a = np.stack([x.weights(entry, head)[i] for head in seeing])
            squares.append(((a @ a.T - np.eye(len(a))) ** 2).sum())
    return float(np.mean(squares)) if squares else 0.0


PER_HEAD: dict[str, Callable[..., float]] = {"doubly_stochastic": _doubly_stochastic, "forward_sum": _forward_sum}
PER_ENTRY: dict[str, Callable[..., float]] = {"disagreement": _disagreement, "orthogonality": _orthogonality}
ALONG_QUERIES = ("target", "target_weights", "probability")
"""Parameters of which each query has its own part; the caller gives them in rank 4."""


def per_unit(name: str, x: Map, parameters: dict[str, Any]) -> Array:
    """Values per query [B, H, n], per head [B, H] or per batch entry [B]; 0 at queries that see nothing."""
    batch, heads, n, _ = x.scores.shape
    if name in PER_ENTRY:
        return np.array([PER_ENTRY[name](x, entry, **parameters) for entry in range(batch)])
    if name in PER_HEAD:
        of_heads = [[PER_HEAD[name](x, entry, head, **parameters) for head in range(heads)] for entry in range(batch)]
        return np.array(of_heads)
    values = np.zeros((batch, heads, n))
    for at in np.ndindex(batch, heads, n):
        if x.allowed[at].any():
            values[at] = PER_QUERY[name](x, at, **{key: _part(key, value, at) for key, value in parameters.items()})
    return values


def _part(key: str, value: Any, at: tuple[int, ...]) -> Any:
    if key not in ALONG_QUERIES or value is None:
        return value
    return value[tuple(0 if size == 1 else place for place, size in zip(at, value.shape[:3], strict=True))]


def reduced(x: Map, values: Array, reduction: str) -> Array:
    """None, mean or sum over the units that have a query that sees something."""
    if reduction == "none":
        return values
    valid = x.allowed.any(-1)
    while valid.ndim > values.ndim:
        valid = valid.any(-1)
    kept = values[valid]
    return np.asarray(kept.sum() if reduction == "sum" else kept.sum() / max(len(kept), 1))
