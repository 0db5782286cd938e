"""Prompts, which may be strings or token ids, as the link carries them."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np

from service.errors import Invalid, TooLarge, path_of
from service.settings import Settings

_SHAPES = "a string, a list of strings, a list of token ids, or a list of lists of token ids"
_MOST_ID = (1 << 31) - 1


def texts_or_ids(prompt: Any, settings: Settings) -> tuple[list[str] | None, list[list[int]] | None]:
    """The prompts as strings or as ids. Raises Invalid, which names the prompt, or TooLarge."""
    if isinstance(prompt, str):
        return _texts([prompt], settings, listed=False), None
    if not isinstance(prompt, list):
        raise Invalid.field("prompt", f"expected {_SHAPES}")
    if not prompt:
        raise Invalid.field("prompt", "expected at least one prompt or token, came an empty list")
    if isinstance(prompt[0], str):
        return _texts(_all_of(str, prompt), settings, listed=True), None
    if isinstance(prompt[0], list):
        _check_count(prompt, settings)
        rows = [token_ids(row, f"prompt[{i}]") for i, row in enumerate(_all_of(list, prompt))]
        return None, _checked_total(rows, settings)
    return None, _checked_total([token_ids(prompt, "prompt")], settings)


def token_ids(ids: Any, path: str) -> list[int]:
    """A list of ids. Raises Invalid for anything else, and where one cannot be an id of any vocabulary."""
    if not isinstance(ids, list):
        raise Invalid.field(path, "expected a list of token ids")
    if not ids:
        raise Invalid.field(path, "expected at least one token, came an empty list")
    if set(map(type, ids)) != {int} or min(ids) < 0 or max(ids) > _MOST_ID:
        k = next(k for k, each in enumerate(ids) if type(each) is not int or not 0 <= each <= _MOST_ID)
        raise Invalid.field(path_of(path, k), f"expected a token id, came {ids[k]!r:.40}")
    return ids


def packed(rows: Sequence[Sequence[int]]) -> dict[str, np.ndarray]:
    """Lists of ids as arrays: all behind one another, and how many there are of each."""
    ids = np.fromiter(chain.from_iterable(rows), np.int64, sum(map(len, rows)))
    return {"ids": ids, "counts": np.array([len(row) for row in rows], np.int64)}


def unpacked(arrays: dict[str, np.ndarray]) -> list[list[int]]:
    """The lists that `packed` made arrays of."""
    ids, rows, start = arrays["ids"].tolist(), [], 0
    for count in arrays["counts"].tolist():
        rows.append(ids[start : start + count])
        start += count
    return rows


def _all_of(kind: type, prompt: list[Any]) -> list[Any]:
    for i, each in enumerate(prompt):
        if not isinstance(each, kind):
            name = "a string" if kind is str else "a list of token ids"
            raise Invalid.field(f"prompt[{i}]", f"expected {name} as in prompt[0]")
    return prompt


def _texts(texts: list[str], settings: Settings, *, listed: bool) -> list[str]:
    _check_count(texts, settings)
    for i, text in enumerate(texts):
        if not text:
            raise Invalid.field(f"prompt[{i}]" if listed else "prompt", "empty: there is no token to score")
    size = sum(len(text.encode(errors="surrogatepass")) for text in texts)
    if size > settings.max_text_bytes:
        limit = f"the limit is {settings.max_text_bytes}; send fewer or shorter ones"
        raise TooLarge(f"The prompts take {size} bytes, {limit}.")
    return texts


def _check_count(prompts: list[Any], settings: Settings) -> None:
    if len(prompts) > settings.max_texts:
        raise Invalid.field("prompt", f"expected at most {settings.max_texts} prompts, came {len(prompts)}")


def _checked_total(rows: list[list[int]], settings: Settings) -> list[list[int]]:
    if (total := sum(map(len, rows))) > settings.max_job_tokens:
        limit = f"the limit is {settings.max_job_tokens}; send fewer or shorter ones"
        raise TooLarge(f"The prompts have {total} tokens, {limit}.")
    return rows
