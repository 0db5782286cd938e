"""Collapse: the probe sees the entropy of heads vanish at a high learning rate, and a floor keeps it from doing so."""

from collections.abc import Callable, Sequence

import pytest
import torch
from transformers import PreTrainedModel

from attnloss.probe import probe
from examples import collapse
from examples.study import Run, of


@pytest.fixture(scope="module")
def runs(small_runs: Callable[[str], Sequence[Run]]) -> Sequence[Run]:
    return small_runs("collapse")


def test_at_ten_times_a_good_learning_rate_a_head_comes_to_attend_to_single_keys(runs: Sequence[Run]) -> None:
    (lowest,) = of(runs, "lowest", variant="hot")
    assert lowest < 0.05


def test_at_the_good_rate_no_head_does_in_these_steps(runs: Sequence[Run]) -> None:
    (lowest,) = of(runs, "lowest", variant="good")
    assert lowest > 0.2


def test_the_floor_keeps_every_head_about_where_it_lies(runs: Sequence[Run]) -> None:
    (lowest,) = of(runs, "lowest", variant="floor")
    assert lowest > 0.75 * collapse.FLOOR


def test_the_floor_alone_does_not_bring_back_the_loss_of_the_good_rate(runs: Sequence[Run]) -> None:
    held_out = {run.case["variant"]: run.result["held_out"] for run in runs}
    assert held_out["good"] < held_out["floor"] - 0.1
    assert held_out["good"] < held_out["hot"] - 0.1


def test_before_training_all_heads_spread_over_all_keys(runs: Sequence[Run]) -> None:
    for curve in of(runs, "curve"):
        step, _, lowest, mean = curve[0]
        assert step == 0
        assert lowest > 0.99
        assert mean <= 1.0


def test_with_a_good_rate_more_is_learned_than_by_counting_characters(runs: Sequence[Run]) -> None:
    """Whether the floor's run does as well, at ten times that rate, rounding decides; the full runs tell how often."""
    (good,) = [run for run in runs if run.case["variant"] == "good"]
    assert not collapse.diverged(good.result)


def test_a_loss_that_is_not_a_number_counts_as_diverged() -> None:
    assert collapse.diverged({"held_out": float("nan")})
    assert collapse.diverged({"held_out": collapse.yardsticks()["single characters"] + 0.01})
    assert not collapse.diverged({"held_out": collapse.yardsticks()["pairs"]})


def test_pairs_tell_more_of_the_text_than_single_characters_and_both_more_than_nothing() -> None:
    known = collapse.yardsticks()
    assert known["pairs"] < known["single characters"] < torch.tensor(float(collapse.text()[2])).log()


@pytest.fixture
def model_and_batch() -> tuple[PreTrainedModel, torch.Tensor]:
    torch.manual_seed(0)
    model = collapse.make(collapse.VARIANTS["hot"])
    return model, collapse.draw(torch.Generator().manual_seed(0))[:2]


def floor_of(model: PreTrainedModel, batch: torch.Tensor) -> torch.Tensor:
    """What the floor adds to the loss of the language model."""
    plain, floor = (collapse.objective(model, batch, collapse.VARIANTS[name]) for name in ("hot", "floor"))
    return floor - plain


def entropies(model: PreTrainedModel, batch: torch.Tensor) -> torch.Tensor:
    with probe(model, losses=[collapse.NORMALIZED]) as p:
        model(input_ids=batch)
    return collapse.of_heads(p.records)


def test_the_floor_costs_nothing_where_all_heads_lie_above_it(
    model_and_batch: tuple[PreTrainedModel, torch.Tensor],
) -> None:
    assert floor_of(*model_and_batch).abs() < 1e-5


def test_the_floor_counts_what_heads_lack_and_its_gradient_lifts_them(
    model_and_batch: tuple[PreTrainedModel, torch.Tensor],
) -> None:
    model, batch = model_and_batch
    with torch.no_grad():
        queries = model.model.layers[0].self_attn.q_proj.weight
        queries *= 300
    before = entropies(model, batch)
    lack = floor_of(model, batch)
    assert lack.item() == pytest.approx((collapse.FLOOR - before).clamp(min=0).sum().item(), abs=1e-3)
    assert lack > 0.1
    (slope,) = torch.autograd.grad(lack, [queries])
    with torch.no_grad():
        queries -= 0.05 * queries.norm() * slope / slope.norm()
    assert (entropies(model, batch)[0] > before[0]).all()


def test_findings_begin_with_the_collapse_and_the_figure_shows_every_run(runs: Sequence[Run]) -> None:
    assert next(iter(collapse.findings(runs))).endswith(collapse.VARIANTS["hot"].label)
    low, loss, ends = collapse.figure(runs).axes
    assert len(low.lines) == len(loss.lines) == 2 * len(runs) + 1  # each seed, each mean, and a yardstick
    assert sum(len(line.get_xdata()) for line in ends.lines[:-1]) == len(runs)
