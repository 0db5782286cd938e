"""Every loss as its paper and the project's list of losses define it: NumPy, float64, query by query.

Nothing of the library is used, so that a mistake there is not repeated here.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tests.library.losses.solvers import Array, best_path, entmax


class Row(NamedTuple):
    """What one query sees: its allowed keys, and their scores, weights and log weights."""

    j: NDArray[np.int64]
    s: Array
    p: Array
    log_p: Array


@dataclass(frozen=True)
class Map:
    """Scores and allowed keys [B, H, n, m], and the counts of valid queries and keys of each batch entry."""

    scores: Array
    allowed: NDArray[np.bool_]
    queries: tuple[int, ...]
    keys: tuple[int, ...]

    def row(self, at: tuple[int, ...]) -> Row:
        j = np.flatnonzero(self.allowed[at])
        s = self.scores[at][j]
        if not len(j):
            return Row(j, s, s, s)
        top = s.max()
        log_p = s - top - math.log(np.exp(s - top).sum())
        return Row(j, s, np.exp(s - top) / np.exp(s - top).sum(), log_p)

    def valid(self, entry: int, head: int) -> list[int]:
        return [i for i in range(self.scores.shape[2]) if self.allowed[entry, head, i].any()]

    def weights(self, entry: int, head: int) -> Array:
        """The map of one head, 0 where not allowed."""
        full = np.zeros(self.scores.shape[2:])
        for i in range(full.shape[0]):
            row = self.row((entry, head, i))
            full[i, row.j] = row.p
        return full

    def cooled(self, temperature: float) -> "Map":
        return replace(self, scores=self.scores / temperature)


def allowed_keys(
    shape: tuple[int, ...], queries: tuple[int, ...], keys: tuple[int, ...], causal: bool, mask: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Mask, lengths and causal, the ends aligned, combine by AND."""
    allowed = np.zeros(shape, dtype=bool)
    for b, h, i, j in np.ndindex(*shape):
        inside = i < queries[b] and j < keys[b]
        seen = not causal or keys[b] - 1 - j >= queries[b] - 1 - i
        allowed[b, h, i, j] = inside and seen and mask[b, h, i, j]
    return allowed


def xlogy(x: Array, y: Array) -> float:
    return float(sum(a * math.log(b) for a, b in zip(x, y, strict=True) if a > 0))


def _entropy(x: Map, at: tuple[int, ...]) -> float:
    row = x.row(at)
    return -float((row.p * row.log_p).sum())


def _renyi(x: Map, at: tuple[int, ...], alpha: float = 2.0) -> float:
    if alpha == 1:
        return _entropy(x, at)
    top = (alpha * x.row(at).log_p).max()
    return float((top + np.log(np.exp(alpha * x.row(at).log_p - top).sum())) / (1 - alpha))


def _log(row: Row, eps: float) -> Array:
    return np.log(np.maximum(row.p, eps)) if eps else row.log_p


def _at_key(row: Row, key: int, eps: float = 0.0) -> float:
    """−log of the weight of one key."""
    place = np.flatnonzero(row.j == key)
    return -float(_log(row, eps)[place[0]]) if len(place) else -math.log(eps)


def _cross_entropy(
    x: Map,
    at: tuple[int, ...],
    target: Array | None = None,
    target_weights: Array | None = None,
    probability: Array | None = None,
    eps: float = 0.0,
    smoothing: float = 0.0,
) -> float:
    row = x.row(at)
    if probability is not None:
        return -xlogy(row.p, np.maximum(probability[row.j], eps))
    assert target is not None
    if target_weights is not None:
        pairs = zip(target, target_weights, strict=True)
        supervised = sum(share * _at_key(row, int(key), eps) for key, share in pairs if key >= 0 and share > 0)
    elif np.ndim(target) == 0:
        supervised = _at_key(row, int(target), eps)
    else:
        supervised = -float((target[row.j] * _log(row, eps)).sum())
    return (1 - smoothing) * supervised - smoothing * float(_log(row, eps).mean())


def _entmax_loss(x: Map, at: tuple[int, ...], target: Array, alpha: float = 1.5) -> float:
    row = x.row(at)
    p = entmax(row.s, alpha)
    t = (row.j == int(target)).astype(float) if np.ndim(target) == 0 else target[row.j]

    def h(w: Array) -> float:
        return float(1 - (w**alpha).sum()) / (alpha * (alpha - 1))

    return h(p) - h(t) + float(((p - t) * row.s).sum())


def _mean_position(x: Map, at: tuple[int, ...]) -> float:
    return float((x.row(at).p * x.row(at).j).sum())


def _guided(x: Map, at: tuple[int, ...], sigma: float = 0.4) -> float:
    row = x.row(at)
    away = row.j / x.keys[at[0]] - at[2] / x.queries[at[0]]
    return float((row.p * (1 - np.exp(-(away**2) / (2 * sigma**2)))).sum())


def _distance(x: Map, at: tuple[int, ...]) -> float:
    row = x.row(at)
    from_end_i, from_end_j = x.queries[at[0]] - at[2], x.keys[at[0]] - row.j
    return float((row.p * np.abs(from_end_i - from_end_j)).sum())


def _variance(x: Map, at: tuple[int, ...]) -> float:
    row = x.row(at)
    return float((row.p * row.j**2).sum()) - _mean_position(x, at) ** 2


def _monotonic(x: Map, at: tuple[int, ...]) -> float:
    after = (*at[:2], at[2] + 1)
    if after[2] >= x.scores.shape[2] or not x.allowed[after].any():
        return 0.0
    return max(_mean_position(x, at) - _mean_position(x, after), 0.0)


def _coverage(x: Map, at: tuple[int, ...]) -> float:
    p = x.weights(*at[:2])
    return float(np.minimum(p[at[2]], p[: at[2]].sum(0)).sum())


def _permutation(x: Map, at: tuple[int, ...], target: Array, penalty: float = 1.0) -> float:
    received = x.weights(*at[:2])[:, int(target)].sum()
    return _at_key(x.row(at), int(target)) + penalty * float(1 - received) ** 2


def _bin(x: Map, at: tuple[int, ...], target: Array | None = None, eps: float = 0.0) -> float:
    if target is None:
        valid, keys = x.valid(*at[:2]), x.keys[at[0]]
        log_p = np.full((len(valid), keys), -np.inf)
        for place, i in enumerate(valid):
            row = x.row((*at[:2], i))
            log_p[place, row.j] = row.log_p
        target = np.array(best_path(log_p)[valid.index(at[2])])
    return _at_key(x.row(at), int(target), eps)


def _of_two(measure: Callable[[Array, Array, Array, Array], float]) -> Callable[..., float]:
    def compute(x: Map, at: tuple[int, ...], other: Map, temperature: float = 1.0) -> float:
        one, two = x.cooled(temperature).row(at), other.cooled(temperature).row(at)
        return float(measure(one.p, two.p, one.log_p, two.log_p))

    return compute


def _js(p: Array, r: Array, log_p: Array, log_r: Array) -> float:
    middle = np.logaddexp(log_p, log_r) - math.log(2)
    return float((p * (log_p - middle)).sum() + (r * (log_r - middle)).sum()) / 2


PER_QUERY: dict[str, Callable[..., float]] = {
    "entropy": _entropy,
    "normalized_entropy": lambda x, at: _entropy(x, at) / math.log(len(x.row(at).j)) if len(x.row(at).j) > 1 else 0.0,
    "target_entropy": lambda x, at, tau=0.0: (_entropy(x, at) - tau) ** 2,
    "renyi": _renyi,
    "collision": lambda x, at: -math.log((x.row(at).p ** 2).sum()),
    "row_sum": lambda x, at: -float((x.row(at).p * math.log(x.row(at).p.sum())).sum()),
    "cross_entropy": _cross_entropy,
    "entmax": _entmax_loss,
    "sparsemax": lambda x, at, target: _entmax_loss(x, at, target, alpha=2.0),
    "permutation": _permutation,
    "order": lambda x, at, target: (_mean_position(x, at) - float(target)) ** 2,
    "guided": _guided,
    "monotonic": _monotonic,
    "distance": _distance,
    "variance": _variance,
    "sink": lambda x, at, keys=(0,): float(x.row(at).p[np.isin(x.row(at).j, keys)].sum()),
    "coverage": _coverage,
    "bin": _bin,
    "kl": _of_two(lambda p, r, log_p, log_r: (p * (log_p - log_r)).sum()),
    "reverse_kl": _of_two(lambda p, r, log_p, log_r: (r * (log_r - log_p)).sum()),
    "js": _of_two(_js),
    "hellinger": _of_two(lambda p, r, log_p, log_r: 1 - np.sqrt(p * r).sum()),
    "total_variation": _of_two(lambda p, r, log_p, log_r: np.abs(p - r).sum() / 2),
    "map_mse": _of_two(lambda p, r, log_p, log_r: ((p - r) ** 2).mean()),
    "cosine": _of_two(lambda p, r, log_p, log_r: 1 - (p * r).sum() / math.sqrt((p * p).sum() * (r * r).sum())),
    "score_mse": lambda x, at, other: float(((x.row(at).s - other.row(at).s) ** 2).mean()),
}
