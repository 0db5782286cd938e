"""Other orders of a text's words, to be scored beside the given one."""

import math
import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

MANY = 1 << 62
"""Beyond so many orders, equal ones among a few random ones are rare, and exact counts only slow."""


def shuffles(text: str, permutations: int, seed: int) -> list[str]:
    """`permutations` orders of the text's words, all different and none the given one; all there are if fewer.

    If all are asked for they come in lexicographic order of the words' places in the text; else as drawn, each with the
    same probability, and more permutations with the same seed begin with the same ones.
    """
    words = text.split()
    others = number_of_orders(words) - 1
    if others < MANY - 1:
        ranks = range(others) if others <= permutations else _sample(others, permutations, random.Random(seed))
        return [_in_place(text, order_of_rank(words, 1 + rank)) for rank in ranks]
    return [_in_place(text, order) for order in islice(_shuffled(words, random.Random(seed)), permutations)]


def _in_place(text: str, words: Sequence[str]) -> str:
    """The text with these words for its own, its white space kept: orders differ in nothing but the order."""
    left = iter(words)
    return re.sub(r"\S+", lambda _: next(left), text)


def number_of_orders(words: Sequence[str]) -> int:
    """How many different sequences the words make, the given one among them: n! / Π cᵢ!, or `MANY` if more."""
    copies = Counter(words).values()
    nats = math.lgamma(len(words) + 1) - sum(math.lgamma(c + 1) for c in copies)
    if nats > math.log(MANY):
        return MANY
    number, placed = 1, 0
    for c in copies:
        placed += c
        number *= math.comb(placed, c)
    return min(number, MANY)


def order_of_rank(words: Sequence[str], rank: int) -> list[str]:
    """The order with so many before it, in lexicographic order of the words' places; 0 is the given one."""
    places: dict[str, list[int]] = {}  # of the copies still to be placed, last first
    for place in reversed(range(len(words))):
        places.setdefault(words[place], []).append(place)
    number = number_of_orders(words)
    order: list[str] = []
    for left in range(len(words), 0, -1):
        for word in sorted(places, key=lambda word: places[word][-1]):
            begin_with_word = number * len(places[word]) // left
            if rank < begin_with_word:
                break
            rank -= begin_with_word
        order.append(word)
        number = begin_with_word
        places[word].pop()
        if not places[word]:
            del places[word]
    return order


def summary(text: str, given: float, shuffled: Sequence[tuple[str, float]]) -> dict[str, Any]:
    """Where the given order stands among the others by its nats; of equal ones the given is best, then the earlier."""
    best, _ = min([(text, given), *shuffled], key=lambda scored: scored[1])
    return {
        "given": given,
        "rank": 1 + sum(nats < given for _, nats in shuffled),
        "of": 1 + len(shuffled),
        "best": best,
        "shuffles": [{"text": other, "nats": nats} for other, nats in shuffled],
    }


def _sample(number: int, size: int, generator: random.Random) -> list[int]:
    """`size` different integers below `number`: a Fisher–Yates shuffle that keeps only the places it touched."""
    moved: dict[int, int] = {}
    drawn = []
    for i in range(size):
        j = generator.randrange(i, number)
        drawn.append(moved.get(j, j))
        moved[j] = moved.get(i, i)
    return drawn


def _shuffled(words: Sequence[str], generator: random.Random) -> Iterator[list[str]]:
    """Random orders without end; ends only because there are `MANY` others."""
    seen = {tuple(words)}
    while True:
        order = list(words)
        generator.shuffle(order)
        if tuple(order) not in seen:
            seen.add(tuple(order))
            yield order
