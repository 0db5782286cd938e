"""Divergences of two maps against the same functions of dense ones."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from attnloss import reference
from attnloss.kernels import native
from attnloss.reference import DenseMap
from attnloss.scores import Scores, make_scores

KINDS: dict[str, Callable[[DenseMap, DenseMap], Tensor]] = {
    "kl": lambda p, r: p.weights * (p.log_weights - r.log_weights),
    "reverse_kl": lambda p, r: r.weights * (r.log_weights - p.log_weights),
    "js": lambda p, r: _to_mean(p, r) + _to_mean(r, p),
    "total_variation": lambda p, r: (p.weights - r.weights).abs() / 2,
    "hellinger": lambda p, r: ((p.log_weights / 2).exp() - (r.log_weights / 2).exp()).square() / 2 * p.allowed,
    "squares": lambda p, r: (p.weights - r.weights).square(),
}


def _to_mean(p: DenseMap, r: DenseMap) -> Tensor:
    mean = torch.logaddexp(p.log_weights, r.log_weights) - torch.log(torch.tensor(2.0, dtype=torch.float64))
    return p.weights * (p.log_weights - mean) / 2


def twin(scores: Scores, other: Scores, kind: str) -> Tensor:
    alike = replace(scores, query=other.query, key=other.key, scale=other.scale)
    if other.key.shape[1] != scores.key.shape[1]:
        spread = other.key.repeat_interleave(scores.query.shape[1] // other.key.shape[1], 1)
        key = scores.key.repeat_interleave(scores.query.shape[1] // scores.key.shape[1], 1)
        scores, alike = replace(scores, key=key), replace(alike, key=spread)
    return KINDS[kind](reference.dense(scores), reference.dense(alike)).sum(-1)


def test_every_option_agrees_with_the_twin(case: Any) -> None:
    scores = case.scores()
    other = replace(case.scores(width=3), scale=0.7)
    leaves = [scores.query, scores.key, other.query, other.key]
    for kind in KINDS if scores.key.shape[2] < 100 else ("kl", "js"):
        case.assert_same(native.two_maps(scores, other, kind), twin(scores, other, kind), leaves)


def test_overlaps_agree_with_the_twin(case: Any) -> None:
    scores = case.scores()
    other = replace(case.scores(width=3), scale=0.7)
    p, r = (reference.dense(one).weights for one in (scores, other))
    truth = torch.stack([(p * p).sum(-1), (p * r).sum(-1), (r * r).sum(-1)])
    leaves = [scores.query, scores.key, other.query, other.key]
    case.assert_same(torch.stack(native.overlaps(scores, other)), truth, leaves)


@pytest.mark.parametrize(("key_heads", "other_heads"), [(6, 1), (1, 6), (2, 3), (3, 3)])
def test_the_maps_may_group_their_heads_differently(
    plain: Callable[..., Any], key_heads: int, other_heads: int
) -> None:
    case = plain(2, 6, key_heads, 7, 11, 5, 1)
    scores, other = case.scores(), case.scores(key_heads=other_heads, width=3)
    leaves = [scores.query, scores.key, other.query, other.key]
    case.assert_same(native.two_maps(scores, other, "kl"), twin(scores, other, "kl"), leaves)


@pytest.mark.parametrize("kind", [*KINDS, "overlaps"])
def test_gradcheck(isa: str, kind: str) -> None:
    shapes = (5, 3), (7, 3), (5, 2), (7, 2)
    tensors = [torch.randn(1, 2, *shape, dtype=torch.float64, requires_grad=True) for shape in shapes]

    def compute(query: Tensor, key: Tensor, query2: Tensor, key2: Tensor) -> Tensor:
        scores, other = make_scores(query, key, causal=True), make_scores(query2, key2)
        return (
            torch.stack(native.overlaps(scores, other)) if kind == "overlaps" else native.two_maps(scores, other, kind)
        )

    assert torch.autograd.gradcheck(compute, tensors)


@pytest.mark.parametrize("wanted", range(4))
def test_gradients_that_nobody_needs_change_no_other(plain: Callable[..., Any], wanted: int) -> None:
    case = plain(1, 2, 1, 13, 17, 5, 3)
    shapes = (2, 13, 5), (1, 17, 5), (2, 13, 3), (1, 17, 3)
    tensors = [torch.randn(1, *shape, dtype=torch.float64) for shape in shapes]
    tensors[wanted].requires_grad_()
    scores, other = make_scores(*tensors[:2]), make_scores(*tensors[2:])
    case.assert_same(native.two_maps(scores, other, "js"), twin(scores, other, "js"), [tensors[wanted]])


@pytest.mark.parametrize("kind", KINDS)
def test_equal_maps_are_not_apart(isa: str, dtype: torch.dtype, kind: str) -> None:
    scores = make_scores(torch.randn(2, 3, 31, 5, dtype=dtype), torch.randn(2, 3, 401, 5, dtype=dtype))
    assert native.two_maps(scores, scores, kind).abs().max() == 0


@pytest.mark.parametrize("kind", ["js", "hellinger", "total_variation", "squares"])
def test_close_maps_have_a_divergence_with_digits(isa: str, kind: str) -> None:
    query, key = torch.randn(1, 2, 31, 5), torch.randn(1, 2, 401, 5)
    scores, other = make_scores(query, key), make_scores(query, key + 1e-2 * torch.randn_like(key))
    got, truth = native.two_maps(scores, other, kind), twin(scores, other, kind)
    assert got.ge(0).all()
    torch.testing.assert_close(got.double(), truth, rtol=1e-3, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_maps_far_apart_are_finite(isa: str, dtype: torch.dtype, kind: str) -> None:
    query = torch.ones(1, 1, 3, 1, dtype=dtype, requires_grad=True)
    key = torch.tensor([1e4, 0.0, -1e4], dtype=dtype).view(1, 1, 3, 1)
    scores, other = make_scores(query, key), make_scores(query.detach(), key.flip(2))
    got = native.two_maps(scores, other, kind)
    torch.testing.assert_close(got.double(), twin(scores, other, kind), rtol=1e-5, atol=1e-5)
    assert torch.autograd.grad(got.sum(), query)[0].isfinite().all()
