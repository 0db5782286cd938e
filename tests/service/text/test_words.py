from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.text.encoding import Encoding
from service.text.words import Units, merge_log_probs, merge_mean, merge_received, merge_weights, units

SPECIAL = "<s>"


def cut(*pieces: str) -> Encoding:
    """A text of these tokens; a first or last `<s>` was added by the tokenizer."""
    inner = [i for i, piece in enumerate(pieces) if piece != SPECIAL or 0 < i < len(pieces) - 1]
    offsets, at = [], 0
    for i, piece in enumerate(pieces):
        length = len(piece) if i in inner else 0
        offsets.append((at, at + length) if length else (0, 0))
        at += length
    text = "".join(pieces[i] for i in inner)
    special = [piece == SPECIAL for piece in pieces]
    return Encoding(text, list(range(len(pieces))), offsets, special, list(pieces), (0, len(text)))


@st.composite
def encodings(draw: st.DrawFn) -> Encoding:
    pieces = draw(st.lists(st.sampled_from(["a", "bc", " ", " d", "e ", "f g", "\n\u3000", "é", SPECIAL]), min_size=1))
    return cut(SPECIAL, *pieces)


def test_the_parts_of_a_word_are_one_unit_at_the_words_place() -> None:
    made = units(cut(SPECIAL, "I", " lo", "ve", " it", ".", "\n", "\n", "Yes"))
    assert made.tokens == ["<s>", "I", "love", "it.", "Yes"]
    assert made.offsets == [(0, 0), (0, 1), (2, 6), (7, 10), (12, 15)]
    assert made.special == [True, False, False, False, False]
    assert made.group.tolist() == [0, 1, 2, 2, 3, 3, 3, 3, 4]
    assert made.starts.tolist() == [0, 1, 2, 4, 8]
    assert made.sizes.tolist() == [1, 1, 2, 4, 1]


@pytest.mark.parametrize(
    ("pieces", "words", "group"),
    [
        ((SPECIAL, " ", " ", "hi"), ["<s>", "hi"], [0, 1, 1, 1]),
        (("hi", " ", "you", " "), ["hi", "you"], [0, 0, 1, 1]),
        (("hi ", SPECIAL, " ", "you"), ["hi", "<s>", "you"], [0, 1, 2, 2]),
        ((SPECIAL, " ", "\n"), ["<s>", " \n"], [0, 1, 1]),
        (("hi", SPECIAL, " ", SPECIAL), ["hi", "<s>", " ", "<s>"], [0, 1, 2, 3]),
    ],
)
def test_white_space_joins_the_word_before_or_else_the_one_after(
    pieces: tuple[str, ...], words: list[str], group: list[int]
) -> None:
    made = units(cut(*pieces))
    assert made.tokens == words
    assert made.group.tolist() == group


def test_each_special_token_is_a_unit_of_its_own_and_parts_the_word_around_it() -> None:
    made = units(cut(SPECIAL, "fo", "o", SPECIAL, SPECIAL, "bar", " x", SPECIAL))
    assert made.tokens == ["<s>", "foo", "<s>", "<s>", "bar", "x", "<s>"]
    assert made.offsets == [(0, 0), (0, 3), (3, 6), (6, 9), (9, 12), (13, 14), (0, 0)]


def test_a_word_that_begins_within_a_token_belongs_to_the_word_before() -> None:
    made = units(cut("New", " York", " is b", "ig", " a b"))
    assert made.tokens == ["New", "York", "is b", "ig", "a b"]


def test_tokens_of_one_characters_bytes_are_one_word() -> None:
    encoding = Encoding("a é", [0] * 4, [(0, 1), (1, 3), (2, 3), (2, 3)], [False] * 4, ["a", " é", "é", "é"], (0, 3))
    made = units(encoding)
    assert made.tokens == ["a", "é"]
    assert made.offsets == [(0, 1), (2, 3)]


def test_a_trimmed_blank_of_no_width_joins_the_word_before() -> None:
    encoding = Encoding("a  b", [0] * 3, [(0, 1), (2, 2), (3, 4)], [False] * 3, ["a", "", "b"], (0, 4))
    assert units(encoding).group.tolist() == [0, 0, 1]


@given(encodings())
def test_units_are_neighbours_and_leave_no_token_and_no_character_out(encoding: Encoding) -> None:
    made = units(encoding)
    steps = np.diff(made.group, prepend=0)
    assert set(steps.tolist()) <= {0, 1}
    assert made.group[0] == 0
    assert made.sizes.sum() == len(encoding.ids)
    assert len(made.tokens) == len(made.offsets) == len(made.special) == made.group[-1] + 1
    spelled = "".join(encoding.text[start:stop] for start, stop in made.offsets)
    assert "".join(spelled.split()) == "".join(encoding.text.split())


@given(encodings())
def test_without_special_tokens_inside_units_are_the_texts_words(encoding: Encoding) -> None:
    whole = not any(encoding.special[1:]) and "f g" not in encoding.tokens
    if whole and encoding.text.split():
        assert units(encoding).tokens[1:] == encoding.text.split()


@given(encodings(), encodings(), st.integers(0, 9))
def test_rows_of_merged_weights_still_sum_to_one(queries: Encoding, keys: Encoding, seed: int) -> None:
    weights = np.random.default_rng(seed).dirichlet(np.ones(len(keys.ids)), (2, 3, len(queries.ids)))
    rows, columns = units(queries), units(keys)
    merged = merge_weights(weights, rows, columns)
    assert merged.shape == (2, 3, len(rows.tokens), len(columns.tokens))
    np.testing.assert_allclose(merged.sum(-1), 1.0, rtol=1e-12)
    np.testing.assert_allclose(merged, twin(weights, rows, columns), atol=1e-12)


def twin(weights: np.ndarray, rows: Units, columns: Units) -> np.ndarray:
    belongs = columns.group[:, None] == np.arange(len(columns.tokens))
    mean = (rows.group == np.arange(len(rows.tokens))[:, None]) / rows.sizes[:, None]
    return np.asarray(mean @ weights @ belongs)


@given(encodings(), st.integers(0, 9))
def test_merging_keeps_totals(encoding: Encoding, seed: int) -> None:
    values = np.random.default_rng(seed).random((2, len(encoding.ids)))
    made = units(encoding)
    np.testing.assert_allclose(merge_received(values, made).sum(-1), values.sum(-1), rtol=1e-12)
    np.testing.assert_allclose(merge_mean(values, made) @ made.sizes, values.sum(-1), rtol=1e-12)


@given(encodings(), st.data())
def test_the_log_probability_of_a_word_is_that_of_its_scored_tokens(encoding: Encoding, data: st.DataObject) -> None:
    made, count = units(encoding), len(encoding.ids)
    scores = st.none() | st.integers(-8, 0).map(float)
    log_probs = data.draw(st.lists(scores, min_size=count, max_size=count))
    merged = merge_log_probs(log_probs, made)
    ends = accumulate(made.sizes.tolist())
    for value, size, end in zip(merged, made.sizes.tolist(), ends, strict=True):
        scored = [each for each in log_probs[end - size : end] if each is not None]
        assert value == (sum(scored) if scored else None)


def test_merging_keeps_float32() -> None:
    made = units(cut(SPECIAL, "a", "b", " c"))
    weights = np.full((4, 4), 0.25, np.float32)
    assert merge_weights(weights, made, made).dtype == np.float32
    assert merge_mean(weights, made).dtype == np.float32
