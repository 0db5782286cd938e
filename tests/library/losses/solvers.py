"""What definitions need beyond sums: α-entmax by bisection, CTC by its textbook, the best path by trying all."""

import itertools
import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def entmax(s: Array, alpha: float) -> Array:
    """By bisection: p = max((α − 1)·s − τ, 0)^(1/(α − 1)) that sums to 1."""
    z = (alpha - 1) * s
    low, high = z.max() - 1, z.max()
    for _ in range(200):
        middle = (low + high) / 2
        total = (np.maximum(z - middle, 0) ** (1 / (alpha - 1))).sum()
        low, high = (middle, high) if total >= 1 else (low, middle)
    p = np.maximum(z - low, 0) ** (1 / (alpha - 1))
    return p / p.sum()


def ctc(p: Array, blank: float) -> float:
    """−log of the probability of all keys in order: the textbook forward variables over blank, 1, blank, 2, …"""
    share = math.exp(blank) / (1 + math.exp(blank))
    emit = np.concatenate([np.full((len(p), 1), share), p / (1 + math.exp(blank))], 1)
    label = [0 if place % 2 == 0 else place // 2 + 1 for place in range(2 * p.shape[1] + 1)]
    alpha = np.array([emit[0, label[place]] if place < 2 else 0.0 for place in range(len(label))])
    for row in emit[1:]:
        before = alpha.copy()
        for place, name in enumerate(label):
            total = before[place] + (before[place - 1] if place >= 1 else 0)
            if place >= 2 and name != 0:
                total += before[place - 2]
            alpha[place] = total * row[name]
    return -math.log(alpha[-1] + alpha[-2])


def best_path(log_p: Array) -> tuple[int, ...]:
    """The likeliest way from the first key to the last in steps of 0 or 1, of all there are."""
    n, m = log_p.shape
    ways = []
    for steps in itertools.combinations(range(1, n), m - 1):
        way = np.cumsum([i in steps for i in range(n)])
        ways.append((sum(log_p[i, a] for i, a in enumerate(way)), tuple(int(a) for a in way)))
    return max(ways)[1]
