"""A text as the tokens of a model, and where each of them lies in it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from service.errors import Invalid

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Encoding:
    """The tokens of one text, and `span`, the part of the text that they stand for: all of it unless truncated.

    Offsets count code points, end exclusive. A special token that the tokenizer added lies at (0, 0); one that is
    written out in the text keeps its place. An ordinary token's string is its slice of the text, so that the tokens of
    one emoji's bytes are each the whole emoji, and a tokenizer that trims offsets has blanks of no width.
    """

    text: str
    ids: list[int]
    offsets: list[tuple[int, int]]
    special: list[bool]
    tokens: list[str]
    span: tuple[int, int]


def encode(
    tokenizer: "PreTrainedTokenizerBase",
    text: str,
    *,
    field: str = "text",
    max_tokens: int | None = None,
    target: bool = False,
) -> Encoding:
    """The ids of `tokenizer(text)`, or with `target` of `tokenizer(text_target=text)`.

    Beyond `max_tokens` ordinary ones are cut on the tokenizer's truncation side; special ones at the ends stay.
    """
    check_text(text, field)
    added = tokenizer.num_special_tokens_to_add()
    if max_tokens is not None and max_tokens <= added:  # transformers would leave the text whole, without a word
        raise ValueError(f"max_tokens: {max_tokens} leaves no room beside {added} special tokens")
    encoded = tokenizer(
        **{"text_target" if target else "text": text},
        truncation=max_tokens is not None,
        max_length=max_tokens,
        return_offsets_mapping=True,
        return_special_tokens_mask=True,
        verbose=False,  # else a text beyond model_max_length is logged
    )
    ids: list[int] = encoded["input_ids"]
    offsets: list[tuple[int, int]] = encoded["offset_mapping"]
    known = _special_ids(tokenizer)
    special = [bool(mask) or token in known for mask, token in zip(encoded["special_tokens_mask"], ids, strict=True)]
    ordinary = [offset for offset, is_special in zip(offsets, special, strict=True) if not is_special]
    if not ordinary:
        raise Invalid.field(field, "holds no token but special ones")
    tokens = [
        str(tokenizer.convert_ids_to_tokens(token)) if is_special else text[start:stop]
        for token, is_special, (start, stop) in zip(ids, special, offsets, strict=True)
    ]
    span = (0, len(text))
    if encoded.encodings and encoded.encodings[0].overflowing:
        left = tokenizer.truncation_side == "left"
        span = (ordinary[0][0], len(text)) if left else (0, ordinary[-1][1])
    return Encoding(text, ids, offsets, special, tokens, span)


def check_text(text: str, field: str) -> None:
    """Raise Invalid for what no tokenizer reads."""
    if surrogate := _SURROGATE.search(text):
        code, index = ord(surrogate.group()), surrogate.start()
        raise Invalid.field(field, f"U+{code:04X} at index {index} is a lone surrogate, which no encoding can hold")


def scored_bytes(encoding: Encoding, scored: Sequence[bool]) -> int:
    """UTF-8 bytes of the scored text: from the end of the last ordinary token before the first scored one.

    So the blank before a scored word counts, whether the tokenizer makes it a part of the word or drops it.
    """
    if not any(scored):
        return 0
    start, stop = encoding.span
    before = list(scored).index(True)
    for (_, end), is_special in zip(encoding.offsets[:before], encoding.special, strict=False):
        if not is_special:
            start = end
    return len(encoding.text[start:stop].encode())


def _special_ids(tokenizer: "PreTrainedTokenizerBase") -> set[int]:
    """Ids that stand for no text. The unknown token does stand for some, unless it is also the one of a boundary."""
    roles = {role: str(token) for role, token in tokenizer.special_tokens_map.items()}
    boundaries = {token for role, token in roles.items() if role not in ("unk_token", "pad_token")}
    known = set(tokenizer.all_special_ids)
    unknown = tokenizer.unk_token_id
    if unknown is not None and roles["unk_token"] not in boundaries:
        known.discard(unknown)
    return known
