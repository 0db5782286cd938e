"""Hypothesis: whatever the shape, the strides, the mask and the size of the scores, every loss is its twin's."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import HealthCheck, given, settings

from attnloss import tiling
from attnloss.registry import LOSSES
from tests.library.losses.cases import CASES, ONE_EACH, Maker, Parameters, Problem

pytestmark = pytest.mark.usefixtures("unchecked_shapes")

SETTINGS = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def problems(draw: st.DrawFn, *, heads_matter: bool) -> Problem:
    """Inputs of any rank, size, head grouping, stride and magnitude, and any way to mask them."""
    rank = 4 if heads_matter else draw(st.sampled_from([2, 3, 4]))
    n, m = draw(st.sampled_from([(1, 1), (1, 4), (4, 1), (3, 5), (5, 3), (4, 4)]))
    widths = draw(st.sampled_from([(1, 1), (3, 1), (2, 5)]))
    batch = (draw(st.integers(1, 2)),) if rank > 2 else ()
    key_heads, other_heads = draw(st.sampled_from([(1, 2), (2, 1), (2, 2), (1, 1)]))
    heads = ((2,), (key_heads,), (2,), (other_heads,)) if rank == 4 else ((),) * 4
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    size = draw(st.sampled_from([0.0, 1.0, 30.0, 1e4]))
    strided = draw(st.booleans())

    def tensor(*shape: int) -> torch.Tensor:
        made = torch.randn(*shape[:-2], shape[-1], shape[-2], generator=generator, dtype=torch.float64).mT
        return made if strided else made.contiguous()

    sizes = ((n, widths[0]), (m, widths[0]), (n, widths[1]), (m, widths[1]))
    query, key, other_query, other_key = (tensor(*batch, *own, *tail) for own, tail in zip(heads, sizes, strict=True))
    options: dict[str, object] = {"causal": draw(st.booleans())}
    if draw(st.booleans()):
        options["mask"] = torch.rand(n, m, generator=generator) < draw(st.sampled_from([0.0, 0.5, 0.9]))
    for name, longest in (("query_lengths", n), ("key_lengths", m)):
        if draw(st.booleans()):
            options[name] = [draw(st.integers(0, longest)) for _ in range((batch or (1,))[0])]
    return Problem(query * size, key, other_query * size, other_key, options)


def fitting(name: str, make: Maker, problem: Problem) -> Parameters:
    """Parameters that no mask makes infinite."""
    if name == "forward_sum":
        return {"compat": "nemo"}
    if name == "bin":
        return CASES["bin index"][1](problem)
    parameters = make(problem)
    if name in ("cross_entropy", "entmax", "sparsemax"):
        parameters = parameters | {"kind": "index"}  # [1, 1] alone does not tell
    if name == "sink":
        parameters = {"keys": (problem.shape[3] - 1,)}
    if name == "renyi":
        parameters = {"alpha": 0.7}
    return parameters


@pytest.mark.parametrize("name", LOSSES)
@given(data=st.data())
@SETTINGS
def test_a_loss_is_finite_and_its_twins_whatever_the_request(
    monkeypatch: pytest.MonkeyPatch, name: str, data: st.DataObject
) -> None:
    problem = data.draw(problems(heads_matter=name == "disagreement"))
    parameters = fitting(name, ONE_EACH[name][1], problem)
    truth = problem.loss(name, parameters, reduction="none", backend="reference")
    assert truth.isfinite().all()
    for backend, tile in (("auto", 1 << 19), ("chunked", 1 << 19), ("chunked", 7)):
        monkeypatch.setattr(tiling, "TILE_SCORES", tile)
        monkeypatch.setattr(tiling, "FEWEST_ROWS", 1 if tile == 7 else 16)
        got = problem.loss(name, parameters, reduction="none", backend=backend)
        torch.testing.assert_close(got, truth, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", LOSSES)
@given(data=st.data())
@settings(SETTINGS, max_examples=4)
def test_gradients_stay_finite_whatever_the_request(
    monkeypatch: pytest.MonkeyPatch, name: str, data: st.DataObject
) -> None:
    problem = data.draw(problems(heads_matter=name == "disagreement")).to(torch.float32).recorded()
    parameters = fitting(name, ONE_EACH[name][1], problem)
    for backend, tile in (("auto", 1 << 19), ("chunked", 7)):
        monkeypatch.setattr(tiling, "TILE_SCORES", tile)
        monkeypatch.setattr(tiling, "FEWEST_ROWS", 1 if tile == 7 else 16)
        value = problem.loss(name, parameters, reduction="sum", backend=backend)
        assert value.isfinite()
        found = torch.autograd.grad(value, problem.inputs(name), allow_unused=True, materialize_grads=True)
        assert all(gradient.isfinite().all() for gradient in found), (backend, tile)
