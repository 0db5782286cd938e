"""Every parameter of every loss of the registry: what does not fit is refused by name, stating both sides."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from attnloss import losses
from attnloss.registry import LOSSES, Parameter
from tests.library.losses.cases import ORDERED, Problem, setting
from tests.library.losses.refusals import M, N, base, refused, scores

pytestmark = pytest.mark.usefixtures("unchecked_shapes")


def parameters_of(*kinds: str) -> list[Any]:
    return [
        pytest.param(name, parameter, id=f"{name} {parameter.name}")
        for name, spec in LOSSES.items()
        for parameter in spec.parameters
        if parameter.kind in kinds
    ]


def test_each_kind_of_parameter_is_tested_here() -> None:
    tested = {"number", "choice", "map", "target", "index", "positions", "shares", "indices", "other"}
    assert {parameter.kind for spec in LOSSES.values() for parameter in spec.parameters} <= tested


@pytest.mark.parametrize(("name", "parameter"), parameters_of("number"))
def test_a_number_out_of_range_is_refused_with_its_range(name: str, parameter: Parameter) -> None:
    numbers = [math.nan, math.inf, -math.inf]
    if parameter.minimum is not None:
        numbers.append(parameter.minimum - max(abs(parameter.minimum) * 1e-3, 1e-6))
    if parameter.maximum is not None:
        numbers += [parameter.maximum, parameter.maximum * 2]
    for number in numbers:
        error = refused(name, {parameter.name: number})
        assert error.field == parameter.name, number
        assert f"got {number}" in str(error)
        assert f"{parameter.minimum:g} ≤" in str(error)


@pytest.mark.parametrize(("name", "parameter"), parameters_of("number"))
def test_the_ends_of_a_range_are_as_the_registry_says(name: str, parameter: Parameter) -> None:
    problem, parameters = base(name)
    if name == "cross_entropy" and parameter.name == "smoothing":
        parameters["eps"] = 0.0
    for number in (parameter.minimum, parameter.default, _below(parameter.maximum)):
        if number is not None:
            losses.build(name, scores(problem), parameters | {parameter.name: number})


def _below(maximum: float | None) -> float | None:
    return None if maximum is None else maximum - abs(maximum) * 1e-9


@pytest.mark.parametrize(("name", "parameter"), parameters_of("choice"))
def test_an_unknown_choice_is_refused_with_the_known_ones(name: str, parameter: Parameter) -> None:
    error = refused(name, {parameter.name: "keras"})
    assert error.field == parameter.name
    assert "got 'keras'" in str(error)
    assert all(choice in str(error) for choice in parameter.choices)


@pytest.mark.parametrize(
    ("name", "parameter"),
    [
        pytest.param(name, parameter, id=f"{name} {parameter.name}")
        for name, spec in LOSSES.items()
        for parameter in spec.parameters
        if parameter.required
    ],
)
def test_a_required_parameter_that_is_missing_is_named(name: str, parameter: Parameter) -> None:
    error = refused(name, {parameter.name: None})
    assert error.field == parameter.name
    assert name in str(error)
    assert "got None" in str(error)


@pytest.mark.parametrize("name", LOSSES)
def test_an_unknown_parameter_is_refused_with_the_known_ones(name: str) -> None:
    problem, parameters = base(name)
    with pytest.raises(ValueError, match="got 'sharpness'") as caught:
        losses.build(name, scores(problem), parameters | {"sharpness": 1})
    assert all(parameter.name in str(caught.value) for parameter in LOSSES[name].parameters)


@pytest.mark.parametrize(("name", "parameter"), parameters_of("index", "target"))
def test_an_index_that_does_not_fit_is_named_by_its_place(name: str, parameter: Parameter) -> None:
    n, m = setting("plain", ordered=name in ORDERED).shape[2:]
    good = torch.zeros(n, dtype=torch.int64)
    field = parameter.name
    for bad in (torch.full((n,), m), torch.full((n,), -1)):
        error = refused(name, {field: torch.cat([good[:2], bad[2:]])})
        assert (error.field, error.index) == (field, (2,))
        assert f"0…{m - 1}, got {int(bad[2])}" in str(error)
    error = refused(name, {field: torch.zeros(n + 1, dtype=torch.int64)})
    assert error.field == field
    assert f"[{n}]" in str(error)
    assert f"[{n + 1}]" in str(error)
    for wrong in (good.double(), good > 0, good.to(torch.complex64)):
        assert refused(name, {field: wrong}).field == field


@pytest.mark.parametrize(("name", "parameter"), parameters_of("index", "target"))
def test_an_index_that_a_query_may_not_attend_to_makes_the_loss_infinite(name: str, parameter: Parameter) -> None:
    problem = setting("plain", ordered=name in ORDERED)
    n, m = problem.shape[2:]
    mask = torch.ones(n, m, dtype=torch.bool)
    mask[3, 2] = False
    masked = Problem(*problem.tensors, {"mask": mask})
    error = refused(name, {parameter.name: torch.full((n,), 2)}, masked)
    assert (error.field, error.index) == (parameter.name, (3,))
    assert "infinite" in str(error)
    assert "query 3" in str(error)


@pytest.mark.parametrize(("name", "parameter"), parameters_of("map", "target"))
def test_a_map_that_does_not_fit_is_named_by_its_row(name: str, parameter: Parameter) -> None:
    good = torch.full((N, M), 1 / M)
    field = parameter.name
    for row, came in (
        (good[2] * 2, "a sum of 2"),
        (good[2] - 1, "least value of -0.857143"),
        (good[2] * math.nan, "nan"),
    ):
        wrong = good.clone()
        wrong[2] = row
        error = refused(name, {field: wrong})
        assert (error.field, error.index) == (field, (2,))
        assert "sum to 1 ± 0.001" in str(error)
        assert came in str(error)
    error = refused(name, {field: good.T})
    assert error.field == field
    assert f"[{N}, {M}]" in str(error)
    assert f"[{M}, {N}]" in str(error)
    three = torch.full((3, 3, N, M), 1 / M)
    assert refused(name, {field: three}).field == field


@pytest.mark.parametrize("name", ["cross_entropy"])
def test_a_probability_of_zero_where_the_weight_is_not_makes_the_loss_infinite(name: str) -> None:
    probability = torch.full((N, M), 1 / M)
    probability[3] = torch.eye(M)[1]
    error = refused(name, {"probability": probability})
    assert (error.field, error.index) == ("probability", (3,))
    assert "infinite" in str(error)
    assert refused(name, {"probability": probability, "target": torch.zeros(N).long()}).field == "target"


@pytest.mark.parametrize(("name", "parameter"), parameters_of("shares"))
def test_shares_that_do_not_fit_are_named(name: str, parameter: Parameter) -> None:
    keys, shares = torch.zeros(N, 2, dtype=torch.int64), torch.full((N, 2), 0.5)
    wrong: dict[str, Tensor] = {
        "shape": shares[:, :1],
        "integers": shares.long(),
        "sum": shares + 0.1,
        "negative": shares + torch.tensor([1.0, -1.0]),
    }
    for what, value in wrong.items():
        error = refused(name, {"target": keys, parameter.name: value})
        assert error.field == parameter.name, what
        assert "got" in str(error)
    for bad in (M, -2):
        error = refused(name, {"target": keys + torch.tensor([0, bad]), parameter.name: shares})
        assert (error.field, error.index) == ("target", (0, 1))
        assert f"0…{M - 1}, or −1, got {bad}" in str(error)
    assert refused(name, {"target": keys, "kind": "sparse"}).field == parameter.name


@pytest.mark.parametrize(("name", "parameter"), parameters_of("positions"))
def test_positions_that_do_not_fit_are_named_by_their_place(name: str, parameter: Parameter) -> None:
    for bad in (M - 0.5, -0.1, math.nan, math.inf):
        wrong = torch.ones(N)
        wrong[3] = bad
        error = refused(name, {parameter.name: wrong})
        assert (error.field, error.index) == (parameter.name, (3,))
        assert f"0…{M - 1}, got {bad:g}" in str(error)
    error = refused(name, {parameter.name: torch.ones(N + 1)})
    assert error.field == parameter.name
    assert f"[{N + 1}]" in str(error)
    for wrong in (torch.ones(N, dtype=torch.bool), torch.ones(N, dtype=torch.complex64)):
        assert refused(name, {parameter.name: wrong}).field == parameter.name


@pytest.mark.parametrize(("name", "parameter"), parameters_of("indices"))
def test_chosen_keys_that_do_not_fit_are_named_by_their_place(name: str, parameter: Parameter) -> None:
    for bad, place in (((0, M), 1), ((-1,), 0), ((2, 3, 2), 2)):
        error = refused(name, {parameter.name: bad})
        assert (error.field, error.index) == (parameter.name, (place,))
        assert str(bad[place]) in str(error)
    assert refused(name, {parameter.name: ()}).field == parameter.name
