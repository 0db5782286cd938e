"""The formula on "I love programming": three ways to the same numbers, and a sample code whose loss is 0."""

from collections.abc import Callable, Sequence

import pytest

from examples import formula
from examples.study import Run

ROUNDING = 1e-14
"""Of a few dozen float64 operations on numbers of order 1."""


@pytest.fixture(scope="module")
def runs(small_runs: Callable[[str], Sequence[Run]]) -> Sequence[Run]:
    return small_runs("formula")


def test_the_library_computes_what_is_computed_by_hand(runs: Sequence[Run]) -> None:
    assert formula.difference(runs[0].result, "library") < ROUNDING


def test_the_service_computes_what_is_computed_by_hand(runs: Sequence[Run]) -> None:
    assert formula.difference(runs[0].result, "service") < ROUNDING


def test_the_weights_of_three_words_are_neither_alike_nor_on_one_word(runs: Sequence[Run]) -> None:
    assert runs[0].result["words"] == ["I", "love", "programming"]
    assert 0.2 < runs[0].result["hand"]["entropy"] < 1.05  # log 3 = 1.0986


def test_the_sample_code_gives_0_and_no_slope_for_every_input(runs: Sequence[Run]) -> None:
    assert runs[0].result["sample code"]["loss"] < ROUNDING
    assert runs[0].result["sample code"]["gradient"] < ROUNDING


def test_the_sample_code_is_the_library_s_row_sum() -> None:
    weights = formula.torch.softmax(formula.torch.randn(7, 5).double(), -1)
    told = formula.losses.row_sum.from_weights(weights, reduction="sum")
    assert told.item() == pytest.approx(formula.sample_code(weights).item(), abs=ROUNDING)


def test_the_figure_shows_scores_weights_and_losses(runs: Sequence[Run]) -> None:
    titles = [axes.get_title().splitlines()[0] for axes in formula.figure(runs).axes]
    assert [title[:2] for title in titles] == ["1.", "2.", "3."]
