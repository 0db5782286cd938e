"""Errors against the float64 twin, within bounds that are derived, not chosen."""

import pytest
import torch
from torch import Tensor

from attnloss import attention, losses

EPS = torch.finfo(torch.float32).eps
NAMES = ("output", "weights", "lse", "entropy", "max")


def naive(query: Tensor, key: Tensor, value: Tensor) -> dict[str, Tensor]:
    """The honest float32 version that one would write."""
    scores = query @ key.mT * query.shape[-1] ** -0.5
    weights, log_weights = scores.softmax(-1), scores.log_softmax(-1)
    return {
        "output": weights @ value,
        "weights": weights,
        "lse": scores.logsumexp(-1),
        "entropy": -(weights * log_weights).sum(-1),
        "max": weights.amax(-1),
    }


def error(got: Tensor, truth: Tensor) -> float:
    return float((got.double() - truth).detach().abs().max())


@pytest.mark.parametrize("size", [0.1, 1.0, 10.0, 100.0])
@pytest.mark.parametrize("backend", ["auto", "chunked"])
@pytest.mark.parametrize("shape", [(2, 3, 31, 17), (1, 2, 601, 64)])
def test_the_error_is_at_most_twice_that_of_the_naive_version(
    size: float, backend: str, shape: tuple[int, ...]
) -> None:
    query, key, value = torch.randn(shape) * size, torch.randn(shape), torch.randn(shape)
    wide = [tensor.double() for tensor in (query, key, value)]
    truth = attention(*wide, returns=NAMES, backend="reference")
    rough = naive(query, key, value)
    largest = float((wide[0] @ wide[1].mT * shape[-1] ** -0.5).abs().max())
    for name in NAMES:
        got = getattr(attention(query, key, value, returns=(name,), backend=backend), name)
        true = getattr(truth, name)
        assert error(got, true) <= 2 * error(rough[name], true) + 4 * EPS * largest, name
        if name == "entropy" and largest <= 20:
            assert error(got, true) <= 1e-5


@pytest.mark.parametrize("backend", ["chunked", "flash"])
def test_gradients_of_the_entropy_are_as_close_as_the_naive_ones(backend: str) -> None:
    query, key = torch.randn(2, 3, 67, 17), torch.randn(2, 3, 67, 17)

    def gradients(compute: object, dtype: torch.dtype) -> tuple[Tensor, ...]:
        leaves = [tensor.to(dtype).requires_grad_() for tensor in (query, key)]
        return torch.autograd.grad(compute(*leaves), leaves)

    truth = gradients(lambda q, k: losses.entropy(q, k, reduction="sum", backend="reference"), torch.float64)
    rough = gradients(lambda q, k: naive(q, k, k)["entropy"].sum(), torch.float32)
    fast = gradients(lambda q, k: losses.entropy(q, k, reduction="sum", backend=backend), torch.float32)
    for got, naive_one, true in zip(fast, rough, truth, strict=True):
        assert error(got, true) <= 2 * error(naive_one, true) + 4 * EPS * float(true.abs().max())


@pytest.mark.parametrize("size", [1e2, 1e4])
def test_scores_of_ten_thousand_stay_finite_with_weights_that_sum_to_one(size: float) -> None:
    query, key = torch.randn(5, 7).sign() * size, torch.randn(11, 7).sign()
    query.requires_grad_()
    result = attention(query, key, key, returns=("output", "weights", "entropy", "lse", "max"))
    torch.testing.assert_close(result.weights.sum(-1), torch.ones(5), rtol=0, atol=1e-6)
    assert (result.entropy >= 0).all()
    gradient = torch.autograd.grad(result.output.sum() + result.entropy.sum() + result.max.sum(), query)
    assert gradient[0].isfinite().all()


def test_scores_beyond_float32_leave_nan_or_inf_to_be_seen() -> None:
    query, key = torch.full((3, 2), 1e20), torch.full((4, 2), 1e20)
    for options in ({}, {"causal": True}, {"mask": torch.ones(3, 4).bool()}):
        for sign in (1, -1):
            result = attention(query, sign * key, key, returns=("output", "entropy"), **options)
            assert not result.output.isfinite().any()
            assert not result.entropy.isfinite().any()
