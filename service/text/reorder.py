"""The article's re-ordering of a sequence by its weights, in two readings; each gives a permutation of the words."""

import numpy as np


def by_received(received: np.ndarray, seen_by: np.ndarray) -> list[int]:
    """Words by the mean attention that they receive, the most first, ties to the earlier.

    The mean is over the queries that could see the word: a causal model shows its first word to all others, and by sums
    that word would win for its place. A word that no query could see comes last.
    """
    mean = received / np.maximum(seen_by, 1)
    order: list[int] = np.argsort(-mean, kind="stable").tolist()
    return order


def by_attention(weights: np.ndarray, seen_by: np.ndarray | None = None) -> list[int]:
    """A walk from the word with the most mean received attention, always on to the word tied closest to the current.

    The tie of i and j is p_ij + p_ji, for in a causal model only the later attends to the earlier; equal ties go to the
    earlier word. `seen_by` as in `by_received`; without it, every query could see every word.
    """
    count = weights.shape[0]
    if count == 0:
        return []
    ties = weights + weights.T
    seen_by = np.full(count, count) if seen_by is None else seen_by
    walk = by_received(weights.sum(axis=0), seen_by)[:1]
    while len(walk) < count:
        ties[:, walk[-1]] = -np.inf  # taken
        walk.append(int(ties[walk[-1]].argmax()))
    return walk
