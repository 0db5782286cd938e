"""What each token of a vocabulary writes, so that the strings of a text's tokens make up the text."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_INCOMPLETE = "\N{REPLACEMENT CHARACTER}"
_MOST_BYTES = 4
"""Bytes of a character in UTF-8: tokens of its bytes that are no character after so many never will be."""


class Pieces:
    """Strings of tokens, each found once. Not those that a decoder gives alone, which may lack the blank before."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        self._tokenizer = tokenizer
        self._known: dict[int, str] = {}
        self._before: list[int] = tokenizer("a", add_special_tokens=False)["input_ids"][-1:]
        self._before_text = self._decode(self._before)

    def of(self, ids: Iterable[int]) -> list[str]:
        """The string of each token; of one that is a part of a character, U+FFFD."""
        ids, known = list(ids), self._known
        for token in set(ids).difference(known):
            known[token] = self._after_another([token])
        return [known[token] for token in ids]

    def text(self, ids: Sequence[int]) -> tuple[str, list[int]]:
        """What the tokens write together, and where each begins; those of one character's bytes begin together."""
        first = self._decode(ids[:1])
        parts = [first, *self.of(ids[1:])]
        if not any(_INCOMPLETE in part for part in parts):
            return "".join(parts), _starts(parts)
        parts, pending = [], list[int]()
        for i, token in enumerate(ids):
            pending.append(token)
            part = self._after_another(pending) if i >= len(pending) else self._decode(pending)
            whole = not part.endswith(_INCOMPLETE) or len(pending) == _MOST_BYTES
            if whole or i == len(ids) - 1:
                parts += [""] * (len(pending) - 1) + [part]
                pending = []
        return "".join(parts), _starts(parts)

    def _after_another(self, ids: Sequence[int]) -> str:
        whole = self._decode([*self._before, *ids])
        return whole[len(self._before_text) :] if whole.startswith(self._before_text) else self._decode(ids)

    def _decode(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))


def _starts(parts: Sequence[str]) -> list[int]:
    starts, reached = [], 0
    for part in parts:
        starts.append(reached)
        reached += len(part)
    return starts
