"""Word alignment by statistics: which source token each token of the target comes from, learned from pairs alone.

Brown et al. 1993's model 1, learned by expectation and maximisation, with the prior of Dyer et al. 2013 (fast_align)
for places near the diagonal, in both directions. A link is worth the product of its probabilities in the two directions
(Liang et al. 2006, Alignment by Agreement).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Ids = Sequence[int]
DIAGONAL, NOTHING = 4.0, 0.08
"""Dyer et al.'s λ, and their prior that a token comes from no token."""
LEAST = 0.1
"""Of the product of both directions' probabilities, for a link to be given."""


@dataclass(frozen=True)
class _Cells:
    """Every token of the target beside every token of its source, of all pairs in one row."""

    pair: np.ndarray
    source: np.ndarray
    target: np.ndarray
    source_place: np.ndarray
    target_place: np.ndarray
    target_token: np.ndarray
    """The number of the target's token among all of all pairs; likewise below."""
    source_token: np.ndarray
    off_diagonal: np.ndarray

    @classmethod
    def of(cls, pairs: Sequence[tuple[Ids, Ids]]) -> "_Cells":
        n, m = (np.array([len(pair[side]) for pair in pairs]) for side in (1, 0))
        pair = np.repeat(np.arange(len(pairs)), n * m)
        place = np.arange(len(pair)) - np.repeat(np.cumsum(n * m) - n * m, n * m)
        i, j = place // m[pair], place % m[pair]
        target_token, source_token = (np.cumsum(n) - n)[pair] + i, (np.cumsum(m) - m)[pair] + j
        sources, targets = (np.concatenate([np.asarray(pair[side]) for pair in pairs]) for side in (0, 1))
        far = np.abs((i + 0.5) / n[pair] - (j + 0.5) / m[pair])
        return cls(pair, sources[source_token], targets[target_token], j, i, target_token, source_token, far)


def _probabilities(given: np.ndarray, made: np.ndarray, token: np.ndarray, far: np.ndarray, rounds: int) -> np.ndarray:
    """For each cell the probability that its token `made` comes from its token `given`."""
    words = int(made.max()) + 1
    kinds, kind = np.unique(given.astype(np.int64) * words + made, return_inverse=True)
    prior = np.exp(-DIAGONAL * far)
    prior *= (1 - NOTHING) / np.bincount(token, prior)[token]
    chance = np.ones(len(kinds))
    frequency = np.bincount(made, np.bincount(token, minlength=token.max() + 1)[token] ** -1.0)
    of_nothing = NOTHING * (frequency / frequency.sum())[made]
    for _ in range(rounds):
        worth = prior * chance[kind]
        share = worth / (np.bincount(token, worth) + np.bincount(token, of_nothing) / np.bincount(token))[token]
        counts = np.bincount(kind, share)
        chance = counts / np.bincount(kinds // words, counts)[kinds // words]
    return share


def align(pairs: Sequence[tuple[Ids, Ids]], rounds: int = 6) -> list[list[int]]:
    """For each token of each target the place of its token in the source, −1 where none is likely."""
    cells = _Cells.of(pairs)
    worth = _probabilities(cells.source, cells.target, cells.target_token, cells.off_diagonal, rounds)
    worth *= _probabilities(cells.target, cells.source, cells.source_token, cells.off_diagonal, rounds)
    links = [[-1] * len(target) for _, target in pairs]
    for cell in np.argsort(worth, kind="stable")[np.searchsorted(np.sort(worth), LEAST) :]:
        links[cells.pair[cell]][cells.target_place[cell]] = int(cells.source_place[cell])
    return links
