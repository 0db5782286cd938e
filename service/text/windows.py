"""Scoring a text beyond the context: Hugging Face's "Perplexity of fixed-length models", each token counted once."""

from typing import NamedTuple


class Window(NamedTuple):
    """The model sees ids[start:stop]; tokens from `first_scored` on, counted in the whole text, are scored in it."""

    start: int
    stop: int
    first_scored: int


def count_windows(n_tokens: int, context: int, stride: int) -> int:
    """How many windows there are."""
    return 1 + max(0, -(-(n_tokens - context) // stride))


def windows(n_tokens: int, context: int, stride: int) -> list[Window]:
    """Windows of at most `context` tokens, `stride` apart, that score every token but the first exactly once.

    A token scored in a later window than the first has at least context − stride tokens before it.
    """
    if not 1 <= stride < context:
        raise ValueError(f"stride: must be from 1 to context − 1; stride is {stride}, context {context}")
    found = [Window(0, min(context, n_tokens), 1)]
    while (reached := found[-1].stop) < n_tokens:
        start = found[-1].start + stride
        found.append(Window(start, min(start + context, n_tokens), reached))
    return found
