"""The entropy of attention as a score, beside the token loss."""

from collections.abc import Callable, Sequence

import pytest
import torch

from examples import score
from examples.study import Run, of


@pytest.fixture(scope="module")
def runs(small_runs: Callable[[str], Sequence[Run]]) -> Sequence[Run]:
    return small_runs("score")


def test_more_damage_costs_more_token_loss(runs: Sequence[Run]) -> None:
    intact, some, much = (of(runs, "nats", noise=noise)[0] for noise in (0.0, 0.3, 0.8))
    assert intact + 0.3 < some < much - 1


def test_much_damage_spreads_attention(runs: Sequence[Run]) -> None:
    intact, much = (of(runs, "entropy", noise=noise)[0] for noise in (0.0, 0.8))
    assert much > 1.05 * intact


def test_the_token_loss_prefers_sentences_to_their_shuffles(runs: Sequence[Run]) -> None:
    assert of(runs, "loss prefers", noise=0.0)[0] > 0.75


def test_a_sentence_of_less_token_loss_has_not_less_entropy(runs: Sequence[Run]) -> None:
    assert of(runs, "per text", noise=0.0)[0] < 0


def test_damage_is_noise_of_the_matrices_own_spread() -> None:
    model = torch.nn.Linear(300, 200)
    weights, bias = model.weight.detach().clone(), model.bias.detach().clone()
    score.damage(model, 0.5, torch.Generator().manual_seed(0))
    assert ((model.weight - weights).std() / weights.std()).item() == pytest.approx(0.5, rel=0.02)
    assert torch.equal(model.bias, bias)


def test_rank_correlation_is_spearman_s() -> None:
    assert score.rank_correlation([1, 2, 3, 4], [10, 20, 15, 40]) == pytest.approx(0.8)


def test_the_figure_is_drawn(runs: Sequence[Run]) -> None:
    assert len(score.figure(runs).axes) == 2
