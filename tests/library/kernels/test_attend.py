"""Output, lse, entropy and largest weight against the dense twin."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from attnloss import reference
from attnloss.kernels import native
from attnloss.scores import Scores, make_scores


def finite(lse: Tensor) -> Tensor:
    return lse.masked_fill(lse.isinf(), 0.0)


def stacked(scores: Scores, features: Tensor | None) -> Tensor:
    expectation, lse, entropy, largest = native.attend(scores, features)
    parts = [] if expectation is None else [expectation]
    return torch.cat([*parts, *(part[..., None] for part in (finite(lse), entropy, largest))], -1)


def stacked_twin(scores: Scores, features: Tensor | None) -> Tensor:
    dense = reference.dense(scores)
    parts = [] if features is None else [reference.expect(dense, features.double())]
    rest = finite(dense.lse), reference.entropy(dense), reference.largest(dense)
    return torch.cat([*parts, *(part[..., None] for part in rest)], -1)


def test_every_option_agrees_with_the_twin(case: Any) -> None:
    scores = case.scores()
    features = case.tensor(*scores.key.shape[:3], case.sizes.features)
    leaves = [scores.query, scores.key, features]
    case.assert_same(stacked(scores, features), stacked_twin(scores, features), leaves)
    case.assert_same(stacked(scores, None), stacked_twin(scores, None), leaves[:2])


@pytest.mark.parametrize("part", range(4), ids=["expectation", "lse", "entropy", "largest"])
def test_each_result_alone_has_its_gradient(plain: Callable[..., Any], part: int) -> None:
    case = plain(1, 2, 1, 13, 17, 5, 3)
    scores = case.scores()
    features = case.tensor(*scores.key.shape[:3], 3)
    cut = slice(0, 3) if part == 0 else slice(part + 2, part + 3)
    mine, truth = stacked(scores, features)[..., cut], stacked_twin(scores, features)[..., cut]
    case.assert_same(mine, truth, [scores.query, scores.key, features])


@pytest.mark.parametrize("wanted", [(0,), (1,), (2,), (0, 2), (1, 2)], ids=str)
def test_gradients_that_nobody_needs_change_no_other(plain: Callable[..., Any], wanted: tuple[int, ...]) -> None:
    case = plain(1, 2, 1, 13, 17, 5, 3)
    tensors = [torch.randn(1, heads, rows, 5, dtype=torch.float64) for heads, rows in ((2, 13), (1, 17), (1, 17))]
    for number in wanted:
        tensors[number].requires_grad_()
    scores = make_scores(tensors[0], tensors[1])
    leaves = [tensors[number] for number in wanted]
    case.assert_same(stacked(scores, tensors[2]), stacked_twin(scores, tensors[2]), leaves)


@pytest.mark.parametrize("causal", [False, True])
def test_gradcheck(isa: str, causal: bool) -> None:
    query, key, features = (torch.randn(1, 2, n, 3, dtype=torch.float64, requires_grad=True) for n in (5, 7, 7))

    def compute(query: Tensor, key: Tensor, features: Tensor) -> Tensor:
        return stacked(make_scores(query, key, causal=causal), features)

    assert torch.autograd.gradcheck(compute, (query, key, features))


def test_a_fully_masked_query_gives_zeros_and_no_gradient(isa: str) -> None:
    query, key = torch.randn(5, 3, requires_grad=True), torch.randn(7, 3, requires_grad=True)
    mask = torch.ones(5, 7, dtype=torch.bool)
    mask[2] = False
    expectation, lse, entropy, largest = native.attend(make_scores(query, key, mask=mask), key[None, None])
    assert lse[0, 0, 2] == -torch.inf
    assert expectation[0, 0, 2].eq(0).all()
    assert entropy[0, 0, 2] == largest[0, 0, 2] == 0
    (expectation.sum() + lse.sum() + 1e9 * entropy.sum() + largest.sum()).backward()
    assert query.grad[2].eq(0).all()
    assert query.grad.isfinite().all()
    assert key.grad.isfinite().all()


def test_ties_share_the_gradient_of_the_largest_weight(isa: str) -> None:
    query = torch.ones(1, 1, dtype=torch.float64, requires_grad=True)
    key = torch.tensor([[2.0], [1.0], [2.0]], dtype=torch.float64, requires_grad=True)
    scores = make_scores(query, key)
    native.attend(scores, None)[3].sum().backward()
    got = key.grad.clone()
    reference.largest(reference.dense(scores)).sum().backward()
    torch.testing.assert_close(got, key.grad - got)


@pytest.mark.parametrize("size", [1e2, 1e4])
def test_large_scores_keep_their_digits(isa: str, dtype: torch.dtype, size: float) -> None:
    query = torch.randn(1, 1, 31, 1, dtype=dtype)
    key = (size * torch.randn(1, 1, 401, 1, dtype=dtype)).requires_grad_()
    scores = make_scores(query, key, scale=1.0)
    mine, truth = native.attend(scores, None), reference.dense(scores)
    slack = 1e-6 if dtype == torch.float32 else 1e-14
    torch.testing.assert_close(mine[1].double(), truth.lse, rtol=slack, atol=slack)
    torch.testing.assert_close(mine[2].double(), reference.entropy(truth), rtol=1e-3, atol=slack * size)
    assert mine[2].ge(-1e-6).all()
    gradient = torch.autograd.grad(mine[2].sum(), key)[0]
    expected = torch.autograd.grad(reference.entropy(truth).sum(), key)[0]
    torch.testing.assert_close(gradient, expected.to(dtype), rtol=1e-3, atol=10 * slack * size)


def test_strides_do_not_matter(plain: Callable[..., Any]) -> None:
    case = plain(2, 3, 3, 13, 17, 5, 5)
    packed = torch.randn(2, 17, 3, 3, 5, dtype=torch.float64).permute(3, 0, 2, 1, 4)
    every_other = torch.randn(2, 3, 26, 10, dtype=torch.float64)[:, :, ::2, ::2]
    one_head = torch.randn(2, 1, 17, 5, dtype=torch.float64).expand(-1, 3, -1, -1)
    columns = torch.randn(2, 3, 5, 17, dtype=torch.float64).mT
    for query, key, features in (
        (packed[0, :, :, :13], packed[1], packed[2]),
        (every_other, columns, one_head),
        (every_other, one_head, columns),
    ):
        leaves = [tensor.detach().requires_grad_() for tensor in (query, key, features)]
        scores = make_scores(leaves[0], leaves[1], causal=True)
        case.assert_same(stacked(scores, leaves[2]), stacked_twin(scores, leaves[2]), leaves)


def test_a_mask_may_have_any_strides(isa: str) -> None:
    query, key = torch.randn(2, 3, 11, 5), torch.randn(2, 3, 13, 5)
    for mask in ((torch.rand(13, 2, 11, 3) > 0.3).permute(1, 3, 2, 0), torch.rand(1, 1, 11, 26)[..., ::2] > 0.3):
        scores = make_scores(query, key, mask=mask)
        torch.testing.assert_close(stacked(scores, key), stacked_twin(scores, key).float())


def test_what_is_beyond_the_lengths_may_hold_anything(isa: str) -> None:
    query, key = torch.randn(2, 11, 5), torch.randn(2, 13, 5)
    spoilt_query, spoilt_key = query.clone(), key.clone()
    spoilt_query[1, 7:], spoilt_key[1, 9:] = torch.nan, torch.inf
    results = []
    for pair in ((query, key), (spoilt_query, spoilt_key)):
        leaves = [tensor.requires_grad_() for tensor in pair]
        scores = make_scores(*leaves, query_lengths=[11, 7], key_lengths=[13, 9])
        result = stacked(scores, leaves[1][:, None])
        results.append([result, *torch.autograd.grad(result.sum(), leaves)])
    for clean, spoilt in zip(*results, strict=True):
        assert torch.equal(clean, spoilt)


def test_nan_is_not_hidden(isa: str) -> None:
    query, key = torch.randn(3, 5), torch.randn(7, 5)
    query[1, 2] = torch.nan
    entropy = native.attend(make_scores(query, key), None)[2]
    assert entropy.isnan().tolist() == [[[False, True, False]]]
