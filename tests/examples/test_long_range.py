"""Long range: what an entropy penalty does to a head that has yet to find the key k back, and what a known key does."""

from collections.abc import Callable, Sequence

import pytest
import torch

from examples import long_range
from examples.study import Run, first_step, of


@pytest.fixture(scope="module")
def runs(small_runs: Callable[[str], Sequence[Run]]) -> Sequence[Run]:
    return small_runs("long_range")


def test_without_a_loss_on_attention_the_token_k_back_is_learned(runs: Sequence[Run]) -> None:
    (accuracy,) = of(runs, "accuracy", variant="plain")
    assert accuracy > 0.9


def test_the_best_head_then_has_the_key_k_back_as_its_strongest_one(runs: Sequence[Run]) -> None:
    (plain,) = [run for run in runs if run.case["variant"] == "plain"]
    head = long_range.best(plain.result)
    assert plain.result["found"][head] > 0.9
    assert plain.result["distance"][head] == pytest.approx(plain.case["k"], rel=0.15)


def test_a_penalty_on_entropy_from_the_start_makes_heads_sharp_before_they_know_where_to_look(
    runs: Sequence[Run],
) -> None:
    (penalised,) = [run.result for run in runs if run.case["variant"] == "penalty"]
    assert max(penalised["entropy"]) < 0.5
    assert max(penalised["found"]) < 0.2


def test_and_so_the_task_is_not_learned_at_all(runs: Sequence[Run]) -> None:
    (accuracy,) = of(runs, "accuracy", variant="penalty")
    assert accuracy < 2 / long_range.TOKENS


def test_a_loss_that_knows_the_key_teaches_the_same_in_fewer_steps(runs: Sequence[Run]) -> None:
    steps = {run.case["variant"]: first_step(run.result["curve"], 0.9) for run in runs}
    assert steps["known"] < 0.7 * steps["plain"]


def test_all_variants_start_from_the_same_heads(runs: Sequence[Run]) -> None:
    assert len({tuple(before) for before in of(runs, "entropy_before")}) == 1


def test_the_sought_key_lies_k_before_each_of_the_last_places() -> None:
    places = torch.arange(long_range.PLACES)[-long_range.ASKED :]
    assert (places - long_range.sought(192) == 192).all()
    assert long_range.sought(192)[0] == 0


def test_a_step_back_is_the_same_rotation_of_the_position_wherever_it_is_taken() -> None:
    positions = long_range.sinusoids()
    products = positions @ positions.T
    for k in (4, 192):
        diagonal = products.diagonal(-k)
        assert torch.allclose(diagonal, diagonal[:1].expand_as(diagonal), atol=1e-3)


def test_a_run_that_never_reaches_the_accuracy_counts_as_never() -> None:
    result = {"curve": [[10, 0.5, 5.0], [20, 0.92, 4.0], [30, 0.91, 3.0]]}
    assert first_step(result["curve"], 0.9) == 20
    assert first_step(result["curve"], 0.99) == float("inf")
    assert long_range.told_steps([result, {"curve": []}]) == "20; never in 1"


def test_findings_begin_with_the_penalty_and_the_figure_shows_every_run(runs: Sequence[Run]) -> None:
    assert next(iter(long_range.findings(runs))).endswith(long_range.VARIANTS["penalty"].label)
    curves, speed, entropy = long_range.figure(runs).axes
    assert len(curves.lines) == 2 * len(runs) + 1  # each seed, each mean, and what guessing gives
    for axes in (speed, entropy):
        assert sum(len(line.get_xdata()) for line in axes.lines if line.get_marker() == "o") == len(runs)
