"""Every loss of the registry is what its definition says, whatever may be attended to."""

import numpy as np
import pytest
import torch
from torch import Tensor

from attnloss.registry import LOSSES
from tests.library.losses import units
from tests.library.losses.cases import CASES, ONE_EACH, ORDERED, PAIRS, Maker, setting
from tests.library.losses.definitions import PER_QUERY


def assert_close(got: Tensor, truth: np.ndarray, atol: float = 1e-9) -> None:
    np.testing.assert_allclose(got.detach().double().numpy(), truth, rtol=1e-9, atol=atol)


def test_every_loss_has_a_definition_and_a_case() -> None:
    defined = {**PER_QUERY, **units.PER_HEAD, **units.PER_ENTRY}
    assert set(defined) == set(LOSSES) == {name for name, _ in CASES.values()}
    assert {name for name, spec in LOSSES.items() if spec.per_query} == set(PER_QUERY)


@pytest.mark.parametrize(("name", "make", "chosen"), PAIRS.values(), ids=PAIRS.keys())
def test_a_loss_is_its_definition_on_every_backend(
    request: pytest.FixtureRequest, name: str, make: Maker, chosen: str
) -> None:
    if chosen != "grouped":
        request.getfixturevalue("unchecked_shapes")  # checked once, they cost more than the loss
    problem = setting(chosen, ordered=name in ORDERED)
    parameters = make(problem)
    truth = problem.truth(name, parameters)
    for backend in ("auto", "chunked", "reference"):
        assert_close(problem.loss(name, parameters, reduction="none", backend=backend), truth)
    request.getfixturevalue("small_tiles")
    assert_close(problem.loss(name, parameters, reduction="none", backend="chunked"), truth)


@pytest.mark.parametrize("chosen", ["plain", "grouped"])
@pytest.mark.parametrize(("name", "make"), ONE_EACH.values(), ids=ONE_EACH.keys())
def test_mean_and_sum_are_over_what_sees_something(name: str, make: Maker, chosen: str) -> None:
    problem = setting(chosen, ordered=name in ORDERED)
    parameters = make(problem)
    for reduction in ("mean", "sum"):
        truth = problem.truth(name, parameters, reduction)
        assert_close(problem.loss(name, parameters, reduction=reduction), truth)
    assert_close(problem.loss(name, parameters), problem.truth(name, parameters, "mean"))


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize(("name", "make"), ONE_EACH.values(), ids=ONE_EACH.keys())
def test_a_loss_has_the_rank_of_its_request(name: str, make: Maker, rank: int) -> None:
    if name == "disagreement":
        pytest.skip("it compares heads, which only rank 4 has")
    problem = setting("lengths", ordered=name in ORDERED, rank=rank)
    parameters = make(problem)
    truth = problem.restored(problem.truth(name, parameters))
    got = problem.loss(name, parameters, reduction="none")
    assert tuple(got.shape) == truth.shape
    assert_close(got, truth)


@pytest.mark.parametrize(("name", "make"), ONE_EACH.values(), ids=ONE_EACH.keys())
def test_without_a_query_that_sees_something_a_loss_is_zero(name: str, make: Maker) -> None:
    problem = setting("plain", ordered=name in ORDERED)
    options = [{"key_lengths": [0, 0]}, {"query_lengths": [0, 0]}, {"mask": torch.zeros(problem.shape[2:]) > 0}]
    for option in options:
        empty = type(problem)(*problem.tensors, option)
        for reduction in ("none", "mean", "sum"):
            got = empty.loss(name, make(empty), reduction=reduction)
            assert got.eq(0).all(), (option, reduction)
