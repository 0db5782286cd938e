"""Order: what attention cannot see, what the permutation loss teaches, and what weights do not tell."""

from collections.abc import Callable, Sequence
from itertools import permutations

import numpy as np
import pytest
import torch

from examples import learn_order, reorder
from examples.study import Run, of


@pytest.fixture(scope="module")
def learned(small_runs: Callable[[str], Sequence[Run]]) -> Sequence[Run]:
    return small_runs("learn_order")


@pytest.fixture(scope="module")
def reordered(small_runs: Callable[[str], Sequence[Run]]) -> Sequence[Run]:
    return small_runs("reorder")


def test_attention_without_positions_is_blind_to_the_order_of_its_inputs(learned: Sequence[Run]) -> None:
    for blind in of(learned, "blind"):
        assert blind["keys"] < 1e-5
        assert blind["entropy"] < 1e-5


def test_with_the_permutation_loss_attention_learns_to_sort_held_out_sequences(learned: Sequence[Run]) -> None:
    (pointed,) = of(learned, "pointed", variant="permutation")
    assert pointed > 0.98


def test_the_same_steps_of_cross_entropy_on_the_output_leave_its_weights_behind(learned: Sequence[Run]) -> None:
    (permutation,), (output,) = (of(learned, "pointed", variant=variant) for variant in ("permutation", "output"))
    assert output < permutation - 0.1


def test_shuffled_sequences_keep_their_symbols_and_targets_name_them_in_hidden_order() -> None:
    hidden = torch.randperm(30, generator=torch.Generator().manual_seed(1))
    symbols, lengths, target = learn_order.draw(50, hidden, torch.Generator().manual_seed(2))
    assert lengths.min() >= learn_order.SHORTEST
    assert lengths.max() <= learn_order.LONGEST
    for row, n, order in zip(symbols, lengths.tolist(), target, strict=True):
        ranks = hidden[row[order[:n]]]
        assert ranks.tolist() == sorted(hidden[row[:n]].tolist())


def test_the_token_loss_finds_the_original_order_far_above_chance(reordered: Sequence[Run]) -> None:
    (ranks,) = of(reordered, "loss", question="all orders")
    assert np.mean(np.array(ranks) == 1) > 5 * reorder.chance(reordered)


def test_neither_the_weights_nor_their_entropy_bring_back_what_the_token_loss_does(reordered: Sequence[Run]) -> None:
    (by_loss,) = of(reordered, "loss", question="all orders")
    found = np.mean(np.array(by_loss) == 1)
    for rule in ("entropy", "most entropy", "head"):
        assert np.mean(np.array(of(reordered, rule, question="all orders")[0]) == 1) < found / 2
    for way in reorder.WAYS:
        assert np.mean([each["found"] for each in of(reordered, way, question="shuffles")]) < found / 2


def test_a_head_is_chosen_on_sentences_other_than_those_it_is_judged_by() -> None:
    orders = np.full(6, 10)
    ranks = np.array([[1, 9], [9, 1]] * 3)  # head 0 is right on even sentences, head 1 on odd ones
    assert reorder.chosen_on_the_other_half(ranks, orders) == [9, 9] * 3


@pytest.mark.parametrize(("told", "share"), [("a b c", 1.0), ("c b a", 0.0), ("b a c", 2 / 3)])
def test_pairs_in_order_are_counted(told: str, share: float) -> None:
    assert reorder.pairs_in_order(told, "a b c") == pytest.approx(share)


def test_a_shuffle_is_never_the_sentence_itself() -> None:
    drawn = {reorder.shuffled("the old the new", reorder.random.Random(seed)) for seed in range(60)}
    assert drawn == {" ".join(words) for words in permutations(["the", "old", "the", "new"])} - {"the old the new"}


def test_the_sentences_are_distinct_and_give_their_ends_away_by_nothing() -> None:
    texts = reorder.sentences(1000)
    assert len(texts) == len(set(texts)) == 112
    for text in texts:
        assert 3 <= len(text.split()) <= 5
        assert text.replace("I ", "i ").replace("Sundays", "sundays").islower()
        assert text.replace(" ", "").isalpha()


def test_the_figures_are_drawn(learned: Sequence[Run], reordered: Sequence[Run]) -> None:
    assert len(learn_order.figure(learned).axes) == 3
    assert len(reorder.figure(reordered).axes) == 2
