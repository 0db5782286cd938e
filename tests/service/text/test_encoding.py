import logging
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer
from transformers import PreTrainedTokenizerFast

from service.errors import Invalid
from service.text.encoding import encode, scored_bytes
from tests.service.text.local import byte_level, metaspace, trimmed, unigram, word_piece, wrapped

ODD = [
    "a\x00b",
    "שלום עולם",
    "ab\u0301\u0323 e\u0301",
    "👩‍👩‍👧 hi",
    "ﷺ ﬁ",
    "한ᄒ\u1161",
    "  two  blanks ",
    "<s> hi</s>[SEP] <unk>",
]


Build = Callable[[], PreTrainedTokenizerFast]
EVERY = [byte_level, trimmed, metaspace, word_piece, unigram]
every_tokenizer = pytest.mark.parametrize("build", EVERY, ids=lambda build: build.__name__)
texts = (
    st.sampled_from(ODD)
    | st.text()
    | st.lists(st.sampled_from(["I", " love", "\n", "<s>", "é", "👩‍👧", "!"])).map("".join)
)


@every_tokenizer
@given(text=texts)
def test_the_ids_are_those_of_transformers_and_every_span_lies_in_the_text_in_order(build: Build, text: str) -> None:
    tokenizer = build()
    ids = tokenizer(text, verbose=False)["input_ids"]
    try:
        encoding = encode(tokenizer, text)
    except Invalid:
        assert all(token in tokenizer.all_special_ids for token in ids)
        return
    assert encoding.ids == ids
    assert len(encoding.offsets) == len(encoding.special) == len(encoding.tokens) == len(ids)
    assert encoding.span == (0, len(text))
    ordinary = [offset for offset, special in zip(encoding.offsets, encoding.special, strict=True) if not special]
    starts = [start for start, _ in ordinary]
    assert starts == sorted(starts)
    assert all(0 <= start <= stop <= len(text) for start, stop in ordinary)


@given(text=texts)
def test_the_slices_of_a_byte_level_tokenizer_leave_nothing_of_the_text_out(text: str) -> None:
    try:
        encoding = encode(byte_level(), text)
    except Invalid:
        return
    assert {place for start, stop in encoding.offsets for place in range(start, stop)} == set(range(len(text)))


def test_a_token_is_its_slice_of_the_text_with_its_blank() -> None:
    encoding = encode(byte_level(), "I love programming")
    assert encoding.tokens == ["<s>", "I", " love", " programming"]
    assert encoding.offsets == [(0, 0), (0, 1), (1, 6), (6, 18)]
    assert encoding.special == [True, False, False, False]


def test_each_token_of_the_bytes_of_one_character_is_that_character() -> None:
    encoding = encode(byte_level(), "aﷺ")
    assert encoding.tokens == ["<s>", "a", "ﷺ", "ﷺ", "ﷺ"]
    assert encoding.offsets[2:] == [(1, 2)] * 3


def test_a_special_token_written_out_keeps_its_place() -> None:
    encoding = encode(byte_level(), "hi <s>")
    assert encoding.tokens == ["<s>", "h", "i", " ", "<s>"]
    assert encoding.offsets[-1] == (3, 6)
    assert encoding.special == [True, False, False, False, True]


def test_a_special_token_that_swallows_its_blank_is_called_by_its_content() -> None:
    tokenizer = wrapped(Tokenizer.from_str(byte_level().backend_tokenizer.to_str()), bos_token="<s>")
    tokenizer.add_special_tokens({"mask_token": AddedToken("<mask>", lstrip=True, special=True)})
    encoding = encode(tokenizer, "hi <mask>")
    assert encoding.tokens[-1] == "<mask>"
    assert encoding.offsets[-1] == (2, 9)


def test_an_unknown_token_stands_for_text_and_is_not_special() -> None:
    encoding = encode(word_piece(), "love 猫")
    assert encoding.ids == [2, *word_piece()("love")["input_ids"][1:-1], 1, 3]
    assert encoding.tokens == ["[CLS]", "love", "猫", "[SEP]"]
    assert encoding.special == [True, False, False, True]


@pytest.mark.parametrize(
    ("build", "text"),
    [(byte_level, ""), (byte_level, "<s>"), (word_piece, " \n\x00"), (word_piece, "[SEP]"), (unigram, "  ")],
)
def test_a_text_without_ordinary_tokens_is_refused_by_its_field(build: Build, text: str) -> None:
    with pytest.raises(Invalid, match=r"^text\[3\]: holds no token but special ones$") as raised:
        encode(build(), text, field="text[3]")
    assert raised.value.errors[0].field == "text[3]"


def test_a_lone_surrogate_is_refused_by_its_code_point_and_place() -> None:
    with pytest.raises(Invalid, match=r"^text: U\+D83D at index 2 is a lone surrogate"):
        encode(byte_level(), "ab\ud83d")


@every_tokenizer
@pytest.mark.parametrize("text", ["I love programming and programming", "a 👩‍👩‍👧 b"])
def test_a_truncated_text_has_the_ids_that_transformers_leaves(build: Build, text: str) -> None:
    tokenizer = build()
    whole = encode(tokenizer, text)
    for room in range(2 + tokenizer.num_special_tokens_to_add(), len(whole.ids) + 2):
        encoding = encode(tokenizer, text, max_tokens=room)
        assert encoding.ids == tokenizer(text, truncation=True, max_length=room, verbose=False)["input_ids"]
        assert encoding.tokens[-1] == whole.tokens[-1] or not whole.special[-1]
        ends = [stop for (_, stop), special in zip(encoding.offsets, encoding.special, strict=True) if not special]
        assert encoding.span == (0, len(text) if room >= len(whole.ids) else ends[-1])
    assert encode(tokenizer, text) == whole


def test_truncation_on_the_left_keeps_the_end_of_the_text() -> None:
    tokenizer = wrapped(byte_level().backend_tokenizer, bos_token="<s>", truncation_side="left")
    encoding = encode(tokenizer, "I love programming", max_tokens=3)
    assert encoding.tokens == ["<s>", " love", " programming"]
    assert encoding.span == (1, 18)
    assert scored_bytes(encoding, [False, True, True]) == 17


def test_a_limit_without_room_for_a_token_of_the_text_is_refused() -> None:
    with pytest.raises(ValueError, match="2 leaves no room beside 2 special tokens"):
        encode(word_piece(), "love", max_tokens=2)


@every_tokenizer
def test_a_megabyte_of_text_is_encoded_without_a_word(
    build: Build, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    text = "I love programming שלום " * 36_000
    with caplog.at_level(logging.DEBUG):
        encoding = encode(build(), text)
    assert max(stop for _, stop in encoding.offsets) >= len(text) - 1
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")


def test_a_target_text_is_encoded_as_the_decoder_reads_it() -> None:
    encoding = encode(unigram(), "love you", target=True)
    assert encoding.ids == unigram()(text_target="love you")["input_ids"]


def test_scored_bytes_run_from_the_last_unscored_token_to_the_end() -> None:
    encoding = encode(byte_level(), "I love é")
    count = len(encoding.ids)
    assert encoding.tokens[:3] == ["<s>", "I", " love"]
    assert scored_bytes(encoding, [False, *[True] * (count - 1)]) == len("I love é".encode())
    assert scored_bytes(encoding, [False, False, *[True] * (count - 2)]) == len(" love é".encode())
    assert scored_bytes(encoding, [False] * count) == 0


def test_scored_bytes_count_the_blank_that_a_tokenizer_drops() -> None:
    encoding = encode(word_piece(), " love I ")
    assert encoding.tokens == ["[CLS]", "love", "I", "[SEP]"]
    assert scored_bytes(encoding, [False, True, True, False]) == 8
    assert scored_bytes(encoding, [False, False, True, False]) == 3


def test_scored_bytes_of_a_truncated_text_end_with_its_last_token() -> None:
    encoding = encode(byte_level(), "I love programming", max_tokens=3)
    assert scored_bytes(encoding, [False, True, True]) == len("I love")
