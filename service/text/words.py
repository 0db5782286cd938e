"""From tokens to words: `"aggregate": "word"`, as in What Does BERT Look At? (Clark et al. 2019).

Attention to a word is the sum over its tokens, attention from a word the mean over them, so that rows still sum to 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from service.text.encoding import Encoding


@dataclass(frozen=True, slots=True)
class Units:
    """Consecutive tokens taken together: string, span and kind of each unit, and the unit of each token.

    A unit is a word of the text, a maximal run of characters that are not white space, or a special token. A token
    belongs to the word of its first such character; a token of white space belongs to the word before it, else to the
    one after. The string is what the unit's tokens cover, blanks at its ends aside. So a word with a special token
    inside is two units, each with its own part; a word that begins within a token of the word before is a part of that
    unit; and a word that the tokenizer drops is none.
    """

    tokens: list[str]
    offsets: list[tuple[int, int]]
    special: list[bool]
    group: np.ndarray

    @property
    def starts(self) -> np.ndarray:
        """The first token of each unit."""
        return np.flatnonzero(np.diff(self.group, prepend=-1))

    @property
    def sizes(self) -> np.ndarray:
        """The number of tokens of each unit, never 0."""
        return np.bincount(self.group)


def units(encoding: Encoding) -> Units:
    """The units of a text's tokens, in order."""
    keys = _words_of_tokens(encoding)
    tokens: list[str] = []
    offsets: list[tuple[int, int]] = []
    special: list[bool] = []
    group: list[int] = []
    for _, members in groupby(range(len(keys)), key=keys.__getitem__):
        indices = list(members)
        group += [len(tokens)] * len(indices)
        special.append(encoding.special[indices[0]])
        if special[-1]:
            tokens.append(encoding.tokens[indices[0]])
            offsets.append(encoding.offsets[indices[0]])
        else:
            start, stop = _stripped(encoding, [encoding.offsets[index] for index in indices])
            tokens.append(encoding.text[start:stop])
            offsets.append((start, stop))
    return Units(tokens, offsets, special, np.array(group, dtype=np.int64))


def merge_weights(weights: np.ndarray, rows: Units, columns: Units) -> np.ndarray:
    """[..., n, m] of tokens → [..., rows, columns] of words: summed over keys, averaged over queries."""
    received = np.add.reduceat(weights, columns.starts, axis=-1)
    merged: np.ndarray = np.add.reduceat(received, rows.starts, axis=-2)
    merged /= rows.sizes[:, None]
    return merged


def merge_received(received: np.ndarray, columns: Units) -> np.ndarray:
    """[..., m] of tokens → [..., words], summed: what all queries' tokens together give to each word."""
    return np.add.reduceat(received, columns.starts, axis=-1)


def merge_mean(values: np.ndarray, rows: Units) -> np.ndarray:
    """[..., n] of tokens → [..., words], averaged: entropies and losses per query."""
    merged: np.ndarray = np.add.reduceat(values, rows.starts, axis=-1)
    merged /= rows.sizes
    return merged


def merge_log_probs(log_probs: Sequence[float | None], words: Units) -> list[float | None]:
    """The log-probability of each word, the sum over its scored tokens; None where the model scores none of them."""
    merged: list[float | None] = [None] * len(words.tokens)
    for unit, value in zip(words.group.tolist(), log_probs, strict=True):
        if value is not None:
            merged[unit] = (merged[unit] or 0.0) + value
    return merged


def _words_of_tokens(encoding: Encoding) -> list[tuple[str, int]]:
    """What each token belongs to; neighbours with the same are one unit."""
    blanks = np.cumsum(np.fromiter(map(str.isspace, encoding.text), dtype=bool, count=len(encoding.text)))
    keys: list[tuple[str, int] | None] = []  # None: white space
    for index, ((start, stop), special) in enumerate(zip(encoding.offsets, encoding.special, strict=True)):
        piece = encoding.text[start:stop].lstrip()
        if special:
            keys.append(("special", index))
        elif piece:
            keys.append(("word", int(blanks[stop - len(piece)])))  # as many blanks before all of its characters
        else:
            previous = keys[-1] if keys else None
            keys.append(previous if previous and previous[0] == "word" else None)
    for index in reversed(range(len(keys))):
        if keys[index] is None:
            after = keys[index + 1] if index + 1 < len(keys) else None
            keys[index] = after if after and after[0] != "special" else ("blank", index)
    return [key for key in keys if key is not None]


def _stripped(encoding: Encoding, offsets: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """The span of some tokens without white space at its ends, unless there is nothing else."""
    start, stop = min(start for start, _ in offsets), max(stop for _, stop in offsets)
    piece = encoding.text[start:stop]
    if piece.strip():
        start, stop = stop - len(piece.lstrip()), start + len(piece.rstrip())
    return start, stop
