"""Gradients of every loss: tiles computed again going back give those of the float64 twin, and gradcheck passes."""

import zlib

import pytest
import torch
from torch import Tensor

from attnloss.registry import LOSSES
from tests.library.losses.cases import ONE_EACH, ORDERED, PAIRS, Maker, Parameters, Problem, setting

DIFFERENTIABLE = {
    label: pair
    for label, pair in PAIRS.items()
    if LOSSES[pair[0]].differentiable and pair[2] in ("causal lengths", "grouped", "plain")
}
FLOATS = ("target", "target_weights", "probability")


def leaves_of(problem: Problem, name: str, parameters: Parameters) -> tuple[Parameters, list[Tensor]]:
    """Everything that a gradient may flow to: the inputs, and parameters that are floats."""
    own = {key: value.detach().clone().requires_grad_() for key, value in parameters.items() if _is_float(key, value)}
    return parameters | own, [*problem.inputs(name), *own.values()]


def _is_float(key: str, value: object) -> bool:
    return key in FLOATS and isinstance(value, Tensor) and value.is_floating_point()


def gradients(problem: Problem, name: str, parameters: Parameters, backend: str) -> list[Tensor]:
    """Of a fixed combination of the values."""
    recorded = problem.recorded()
    own, leaves = leaves_of(recorded, name, parameters)
    values = recorded.loss(name, own, reduction="none", backend=backend)
    gain = torch.linspace(-1, 2, values.numel(), dtype=values.dtype).view_as(values).sin()
    return list(torch.autograd.grad((values * gain).sum(), leaves, materialize_grads=True))


@pytest.mark.parametrize(("name", "make", "chosen"), DIFFERENTIABLE.values(), ids=DIFFERENTIABLE.keys())
@pytest.mark.usefixtures("unchecked_shapes")
def test_gradients_are_those_of_the_twin(request: pytest.FixtureRequest, name: str, make: Maker, chosen: str) -> None:
    problem = setting(chosen, ordered=name in ORDERED)
    parameters = make(problem)
    truth = gradients(problem, name, parameters, "reference")
    close = {"rtol": 1e-9, "atol": 1e-10}
    torch.testing.assert_close(gradients(problem, name, parameters, "auto"), truth, **close)
    request.getfixturevalue("small_tiles")
    torch.testing.assert_close(gradients(problem, name, parameters, "chunked"), truth, **close)


@pytest.mark.parametrize("chosen", ["causal", "mask"])
@pytest.mark.parametrize(("name", "make"), ONE_EACH.values(), ids=ONE_EACH.keys())
@pytest.mark.usefixtures("unchecked_shapes")
def test_gradients_of_the_twin_are_slopes_of_the_definition(name: str, make: Maker, chosen: str) -> None:
    """The twin is trusted above; here it moves along a random line as the NumPy definition does."""
    problem = setting(chosen, ordered=name in ORDERED)
    parameters = make(problem)
    recorded = problem.recorded()
    values = recorded.loss(name, parameters, reduction="sum", backend="reference")
    found = torch.autograd.grad(values, recorded.inputs(name), materialize_grads=True)
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    line = [torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype) for tensor in problem.tensors]
    step = 1e-6

    def moved(by: float) -> float:
        tensors = [tensor + by * along for tensor, along in zip(problem.tensors, line, strict=True)]
        return float(Problem(*tensors, problem.options).truth(name, parameters, "sum"))

    slope = (moved(step) - moved(-step)) / (2 * step)
    along = sum(float((gradient * part).sum()) for gradient, part in zip(found, line, strict=False))
    assert along == pytest.approx(slope, rel=2e-6, abs=2e-6)


@pytest.mark.parametrize("backend", ["chunked", "auto"])
@pytest.mark.parametrize(("name", "make"), ONE_EACH.values(), ids=ONE_EACH.keys())
@pytest.mark.usefixtures("unchecked_shapes", "small_tiles")
def test_gradcheck_passes_with_many_tiles(name: str, make: Maker, backend: str) -> None:
    """Small inputs: fast mode compares along one random line, and the twin above along all."""
    problem = setting("mask", ordered=name in ORDERED).recorded()
    own, leaves = leaves_of(problem, name, make(problem))

    def compute(*tensors: Tensor) -> Tensor:
        maps = list(tensors[: len(problem.inputs(name))])
        floats = dict(
            zip([key for key, value in own.items() if _is_float(key, value)], tensors[len(maps) :], strict=True)
        )
        rest = list(problem.tensors[len(maps) :])
        moved = Problem(*maps, *rest, problem.options)
        return moved.loss(name, own | floats, reduction="none", backend=backend)

    # a distribution that is nudged stays one within its tolerance of 1e-3
    assert torch.autograd.gradcheck(compute, leaves, fast_mode=True, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", [name for name in LOSSES if name not in ("row_sum",)])
@pytest.mark.usefixtures("unchecked_shapes")
def test_a_query_that_sees_nothing_moves_nothing(name: str) -> None:
    problem = setting("mask", ordered=name in ORDERED).recorded()
    values = problem.loss(name, ONE_EACH[name][1](problem), reduction="sum")
    query, *others = torch.autograd.grad(values, problem.inputs(name))
    assert query[:, :, 1].eq(0).all()
    assert all(gradient.isfinite().all() for gradient in (query, *others))
    assert query.abs().sum() > 0
