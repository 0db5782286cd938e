"""Errors in float32 and from bfloat16 inputs, against the definition of the same rounded inputs."""

import numpy as np
import pytest
import torch

from tests.library.losses.cases import CASES, LONG, ORDERED, Maker, setting

NATS = 1e-5
"""Bound of section 6 of the design where scores are within ±20."""

UNITS = {
    "target_entropy": 8.0,  # (H − τ)² changes by 2·|H − τ| per nat
    "renyi": 8.0,  # α / |1 − α| nats per nat of a score, and 1 / |1 − α| next to 1
    "order": LONG**2,  # tokens squared
    "variance": LONG**2,
    "distance": LONG,  # tokens
    "monotonic": LONG,
    "score_mse": 40.0,  # (s − t)², |s − t| ≤ 20
    "forward_sum": LONG,  # a sum over queries
    "doubly_stochastic": LONG,
    "permutation": 4.0,
    "orthogonality": 9.0,  # a sum over pairs of heads
}
ENTROPIES = {
    *("entropy", "normalized_entropy", "renyi", "collision", "cross_entropy", "kl", "reverse_kl", "js"),
    *("permutation", "bin", "hellinger", "total_variation", "guided", "sink", "coverage", "cosine", "map_mse"),
}


@pytest.mark.parametrize("size", [1.0, 2.5])
@pytest.mark.parametrize(("name", "make"), CASES.values(), ids=CASES.keys())
@pytest.mark.usefixtures("unchecked_shapes")
def test_float32_is_within_the_bound_of_the_design(
    request: pytest.FixtureRequest, name: str, make: Maker, size: float
) -> None:
    problem = setting("grouped", ordered=name in ORDERED)
    problem = type(problem)(problem.query * size, problem.key, *problem.tensors[2:], problem.options)
    single = problem.to(torch.float32)
    wide = single.to(torch.float64)
    assert max(np.abs(wide.definition(other=other).scores).max() for other in (False, True)) <= 20
    parameters = {
        key: value.float() if isinstance(value, torch.Tensor) and value.is_floating_point() else value
        for key, value in make(problem).items()
    }
    truth = wide.truth(name, parameters)
    for backend in ("auto", "chunked", "many tiles"):
        if backend == "many tiles":
            request.getfixturevalue("small_tiles")
        got = single.loss(name, parameters, reduction="none", backend=backend.replace("many tiles", "chunked"))
        assert got.dtype == torch.float32
        error = np.abs(got.double().numpy() - truth).max()
        assert error <= NATS * UNITS.get(name, 1.0), (backend, error)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    ("name", "make"),
    [case for case in CASES.values() if case[0] in ENTROPIES],
    ids=[label for label, case in CASES.items() if case[0] in ENTROPIES],
)
@pytest.mark.usefixtures("unchecked_shapes")
def test_half_precision_inputs_lose_no_more_than_their_rounding(name: str, make: Maker, dtype: torch.dtype) -> None:
    problem = setting("grouped", ordered=name in ORDERED).to(dtype)
    parameters = make(problem)
    got = problem.loss(name, parameters, reduction="none")
    assert got.dtype == torch.float32
    truth = problem.to(torch.float64).truth(name, parameters)
    assert np.abs(got.double().numpy() - truth).max() <= 5e-3


@pytest.mark.parametrize("size", [100.0, 1e4])
@pytest.mark.parametrize("name", ["entropy", "kl", "js", "guided", "entmax", "sink", "cross_entropy", "forward_sum"])
@pytest.mark.usefixtures("unchecked_shapes")
def test_large_scores_lose_what_their_rounding_costs(name: str, size: float) -> None:
    """The scores themselves are known to 4·eps·max|s|, and a loss in nats follows them."""
    problem = setting("plain", ordered=name in ORDERED)
    single = type(problem)(problem.query * size, problem.key, problem.other_query * size, problem.other_key, {})
    single = single.to(torch.float32)
    wide = single.to(torch.float64)
    make = next(maker for kind, maker in CASES.values() if kind == name)
    largest = max(np.abs(wide.definition(other=other).scores).max() for other in (False, True))
    truth = wide.loss(name, make(problem), reduction="none", backend="reference").numpy()
    got = single.loss(name, make(problem), reduction="none").double().numpy()
    assert np.isfinite(got).all()
    assert np.abs(got - truth).max() <= 16 * torch.finfo(torch.float32).eps * largest * (1 + np.abs(truth).max())
