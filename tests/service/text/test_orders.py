import math
import subprocess
import sys
from collections import Counter
from itertools import permutations as all_permutations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.text.orders import MANY, number_of_orders, order_of_rank, shuffles, summary

ROOT = Path(__file__).resolve().parents[3]
few_words = st.lists(st.sampled_from("abcd"), max_size=6)
seeds = st.integers(0, 1 << 64)


def listed(words: list[str]) -> list[list[str]]:
    """All different orders as they first come among the permutations of places."""
    return [list(order) for order in dict.fromkeys(all_permutations(words))]


@given(few_words)
def test_ranks_number_the_different_orders_lexicographically_by_place(words: list[str]) -> None:
    orders = listed(words)
    assert number_of_orders(words) == len(orders)
    assert [order_of_rank(words, rank) for rank in range(len(orders))] == orders


@given(few_words, st.integers(1, 200), seeds)
def test_shuffles_are_different_orders_of_the_words_and_none_is_the_given(
    words: list[str], permutations: int, seed: int
) -> None:
    others = shuffles(" ".join(words), permutations, seed)
    assert len(others) == len(set(others)) == min(permutations, number_of_orders(words) - 1)
    assert " ".join(words) not in others
    assert all(Counter(other.split()) == Counter(words) for other in others)


@given(few_words, seeds)
def test_all_orders_come_in_their_own_order_whatever_the_seed(words: list[str], seed: int) -> None:
    assert shuffles(" ".join(words), 720, seed) == [" ".join(order) for order in listed(words)[1:]]


@given(st.lists(st.text("abcdef", min_size=1, max_size=3), min_size=25, max_size=60, unique=True), seeds)
def test_of_very_many_orders_as_many_are_drawn_as_asked(words: list[str], seed: int) -> None:
    assert number_of_orders(words) == MANY
    others = shuffles(" ".join(words), 16, seed)
    assert len(set(others)) == 16
    assert all(sorted(other.split(" ")) == sorted(words) for other in others)
    assert others[:5] == shuffles(" ".join(words), 5, seed)


@pytest.mark.parametrize("text", ["", " \n", "one", " one ", "same same same"])
def test_a_text_that_reads_the_same_in_every_order_has_none(text: str) -> None:
    assert shuffles(text, 16, 0) == []


def test_white_space_keeps_its_place() -> None:
    assert shuffles(" b\n a  b ", 16, 0) == [" b\n b  a ", " a\n b  b "]


def test_all_orders_but_one_are_drawn_without_waiting_for_luck() -> None:
    text = "a b c d e f g"
    others = shuffles(text, math.factorial(7) - 2, 0)
    assert len(set(others)) == math.factorial(7) - 2


def test_a_long_text_of_few_orders_draws_among_them() -> None:
    text = "a " * 1000 + "b"
    assert number_of_orders(text.split()) == 1001
    assert len(set(shuffles(text, 50, 0))) == 50


def test_a_very_long_text_is_not_counted_out() -> None:
    words = ["a", "b"] * 200_000
    assert number_of_orders(words) == MANY
    assert number_of_orders(["a"] * 200_000 + ["b"]) == 200_001


@pytest.mark.parametrize(
    ("text", "seed"), [("I love programming in the morning", 7), ("a b c d e f g h i j k l m n o p q r s t u v w", 3)]
)
def test_a_seed_gives_the_same_orders_in_every_process(text: str, seed: int) -> None:
    program = f"from service.text.orders import shuffles; print(shuffles({text!r}, 5, {seed}))"
    for hash_seed in "12":
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == repr(shuffles(text, 5, seed))


def test_different_seeds_draw_differently() -> None:
    assert shuffles("a b c d e f g h", 5, 1) != shuffles("a b c d e f g h", 5, 2)


def test_the_summary_ranks_the_given_order_among_the_others() -> None:
    assert summary("a b c", 31.0, [("b a c", 40.0), ("c b a", 30.0), ("c a b", 31.0)]) == {
        "given": 31.0,
        "rank": 2,
        "of": 4,
        "best": "c b a",
        "shuffles": [
            {"text": "b a c", "nats": 40.0},
            {"text": "c b a", "nats": 30.0},
            {"text": "c a b", "nats": 31.0},
        ],
    }


def test_the_given_order_is_best_where_none_is_lower() -> None:
    made = summary("a b", 31.0, [("b a", 31.0)])
    assert (made["rank"], made["of"], made["best"]) == (1, 2, "a b")
    assert summary("a", 3.0, []) == {"given": 3.0, "rank": 1, "of": 1, "best": "a", "shuffles": []}


def test_of_equal_best_orders_the_earlier_is_told() -> None:
    assert summary("a b c", 2.0, [("b a c", 1.0), ("c b a", 1.0)])["best"] == "b a c"
