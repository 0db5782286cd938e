"""Losses over weights that someone has already are those over the query and key that gave them."""

import math

import pytest
import torch
from torch import Tensor

from attnloss import FieldError, losses
from tests.library.losses.cases import ORDERED, PAIRS, TWO_MAPS, Maker, Problem, setting

FROM_WEIGHTS = {
    label: pair
    for label, pair in PAIRS.items()
    if pair[0] != "score_mse" and pair[2] in ("causal lengths", "grouped", "plain")
}


def soft(problem: Problem, *, other: bool = False) -> Tensor:
    """The map, by torch's softmax, so that autograd goes through it."""
    query, key = problem.tensors[2:] if other else problem.tensors[:2]
    scale = None if other else problem.options.get("scale")
    group = query.shape[-3] // key.shape[-3] if query.ndim == 4 else 1
    key = key.repeat_interleave(group, 1) if group > 1 else key
    scores = query @ key.mT * (query.shape[-1] ** -0.5 if scale is None else scale)
    allowed = torch.from_numpy(problem.allowed)
    allowed = allowed[0, 0] if query.ndim == 2 else allowed[:, 0] if query.ndim == 3 else allowed
    empty = ~allowed.any(-1, keepdim=True)
    return scores.masked_fill(~allowed & ~empty, -torch.inf).softmax(-1) * allowed


def given(problem: Problem, name: str, parameters: dict[str, object], **options: object) -> Tensor:
    if name in TWO_MAPS:
        parameters = {"other": soft(problem, other=True), **parameters}
    rest = {key: value for key, value in problem.options.items() if key != "scale"}
    return getattr(losses, name).from_weights(soft(problem), **parameters, **rest, **options)


@pytest.mark.parametrize(("name", "make", "chosen"), FROM_WEIGHTS.values(), ids=FROM_WEIGHTS.keys())
@pytest.mark.usefixtures("unchecked_shapes")
def test_value_and_gradient_from_weights_are_those_from_query_and_key(
    request: pytest.FixtureRequest, name: str, make: Maker, chosen: str
) -> None:
    problem = setting(chosen, ordered=name in ORDERED).recorded()
    parameters = make(problem)
    if name == "renyi" and parameters["alpha"] == 0:
        pytest.skip("a count of keys has no gradient")
    truth = problem.loss(name, parameters, reduction="none", backend="chunked")
    gain = torch.linspace(-1, 2, truth.numel(), dtype=truth.dtype).view_as(truth).sin()
    slopes = torch.autograd.grad((truth * gain).sum(), problem.inputs(name), materialize_grads=True)
    if chosen == "grouped":
        request.getfixturevalue("small_tiles")
    for backend in ("auto", "reference") if chosen != "grouped" else ("chunked",):
        got = given(problem, name, parameters, reduction="none", backend=backend)
        torch.testing.assert_close(got, truth, rtol=1e-9, atol=1e-9)
        found = torch.autograd.grad((got * gain).sum(), problem.inputs(name), materialize_grads=True)
        torch.testing.assert_close(found, slopes, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("name", ["entropy", "kl", "coverage", "forward_sum", "orthogonality"])
def test_weights_have_the_rank_of_their_request(name: str, rank: int) -> None:
    problem = setting("lengths", ordered=name in ORDERED, rank=rank)
    truth = problem.loss(name, {}, reduction="none")
    got = given(problem, name, {}, reduction="none")
    assert got.shape == truth.shape
    torch.testing.assert_close(got, truth)


def test_mask_causal_and_lengths_say_which_keys_are_allowed_and_a_row_of_zeros_is_fully_masked() -> None:
    weights = torch.tensor([[0.5, 0.0, 0.5], [0.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    share = math.log(2) / math.log(3)
    values = losses.normalized_entropy.from_weights(weights, reduction="none")
    assert values.tolist() == pytest.approx([share, 0, 0])
    assert losses.normalized_entropy.from_weights(weights).item() == pytest.approx(share / 2)
    masked = losses.normalized_entropy.from_weights(weights, mask=weights > 0, reduction="none")
    assert masked.tolist() == pytest.approx([1, 0, 0])


@pytest.mark.parametrize("target", [torch.tensor([1, 0]), torch.tensor([[0.9, 0.1], [1.0, 0.0]])])
def test_a_target_on_a_key_of_weight_zero_is_infinite(target: torch.Tensor) -> None:
    with pytest.raises(FieldError, match="infinite"):
        losses.cross_entropy.from_weights(torch.eye(2), target=target)
    assert losses.cross_entropy.from_weights(torch.eye(2), target=target, eps=1e-3).isfinite()


def test_scores_cannot_be_had_from_weights() -> None:
    with pytest.raises(FieldError, match="score_mse compares scores"):
        losses.score_mse.from_weights(torch.eye(3), other=torch.eye(3))


@pytest.mark.parametrize(
    ("weights", "index", "message"),
    [
        ([[0.5, 0.6], [1.0, 0.0]], (0,), r"weights\[0\] .*sum to 1 ± 0.001.*got a sum of 1.1"),
        ([[1.0, 0.0], [1.5, -0.5]], (1,), r"weights\[1\] must be non-negative.*least value of -0.5"),
        ([[1.0, 0.0], [float("nan"), 0.0]], (1,), r"weights\[1\]"),
        ([[[1.0, 0.0]], [[0.2, 0.2]]], (1, 0), r"weights\[1, 0\] .*got a sum of 0.4"),
    ],
)
def test_weights_that_are_no_distributions_are_named_by_their_row(
    weights: list[list[float]], index: tuple[int, ...], message: str
) -> None:
    with pytest.raises(FieldError, match=message) as caught:
        losses.entropy.from_weights(torch.tensor(weights))
    assert (caught.value.field, caught.value.index) == ("weights", index)


@pytest.mark.parametrize("name", ["kl", "reverse_kl"])
def test_a_divergence_that_would_be_infinite_is_refused_by_its_row(name: str) -> None:
    bare, full = torch.tensor([[0.5, 0.5], [1.0, 0.0]]), torch.tensor([[0.5, 0.5], [0.5, 0.5]])
    maps = {"kl": (full, bare, "other"), "reverse_kl": (bare, full, "weights")}[name]
    with pytest.raises(FieldError, match="the loss is infinite") as caught:
        getattr(losses, name).from_weights(maps[0], other=maps[1])
    assert caught.value.field == maps[2]
    assert caught.value.index[0] == 1


@pytest.mark.parametrize("name", sorted(TWO_MAPS - {"score_mse"}))
@pytest.mark.usefixtures("unchecked_shapes")
def test_a_second_map_of_another_shape_is_refused(name: str) -> None:
    for shape in ((3, 4), (4, 3), (1, 3, 3), (2, 3, 3)):
        second = torch.ones(shape) / shape[-1]
        with pytest.raises(FieldError, match=r"3, 3"):
            getattr(losses, name).from_weights(torch.eye(3), other=second)


@pytest.mark.parametrize("name", sorted(TWO_MAPS - {"score_mse"}))
def test_a_query_that_only_one_map_answers_is_refused(name: str) -> None:
    """P of it is a distribution and R is none, so that no distance between them is defined."""
    first, second = torch.tensor([[0.5, 0.5], [0.3, 0.7]]), torch.tensor([[0.5, 0.5], [0.0, 0.0]])
    with pytest.raises(FieldError) as caught:
        getattr(losses, name).from_weights(first, other=second)
    assert caught.value.field == "other"
