"""The strongest keys of each query and their weights, against the dense twin and a stable sort of the scores."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from attnloss import attention, reference
from attnloss.kernels import native
from attnloss.native import NativePass
from attnloss.scores import Scores, make_scores

MOST = NativePass.most_keys


def top(scores: Scores, count: int, features: Tensor | None = None) -> tuple[Tensor, Tensor]:
    index, weight = native.attend_top(scores, features, count)[4:]
    assert index is not None
    assert weight is not None
    return index, weight


def twin(scores: Scores, count: int) -> tuple[Tensor, Tensor]:
    """Index and weight, filled up where there are fewer keys than `count`."""
    dense = reference.dense(scores)
    index = reference.top_index(dense, count)
    index = torch.nn.functional.pad(index, (0, count - index.shape[-1]), value=-1)
    return index, dense.weights.gather(-1, index.clamp(min=0)).masked_fill(index < 0, 0.0)


def whole(*shape: int) -> Tensor:
    """Whole numbers: every sum of their products is exact, whatever the order, and many are equal."""
    return torch.randint(-2, 3, shape).double()


@pytest.mark.parametrize("count", [1, 37])
def test_every_option_agrees_with_the_twin(case: Any, count: int) -> None:
    scores = case.scores()
    index, weight = top(scores, count)
    expected, truth = twin(scores, count)
    if case.dtype == torch.float64:  # in float32 two scores may round to one
        assert torch.equal(index, expected)
    assert torch.equal(index < 0, expected < 0)
    assert torch.equal(index.sort(-1).values.diff(dim=-1) > 0, expected.sort(-1).values.diff(dim=-1) > 0)
    case.assert_same(weight, truth, [scores.query, scores.key])


@pytest.mark.parametrize("sizes", [(1, 2, 1, 23, 11, 3), (2, 3, 3, 131, 797, 2), (1, 1, 1, 5, 1201, 1)], ids=str)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.usefixtures("isa")
def test_equal_scores_are_ordered_as_by_a_stable_sort(dtype: torch.dtype, sizes: tuple[int, ...], causal: bool) -> None:
    batch, heads, key_heads, n, m, width = sizes
    query, key = whole(batch, heads, n, width).to(dtype), whole(batch, key_heads, m, width).to(dtype)
    scores = make_scores(query, key, causal=causal, scale=1.0, mask=torch.rand(n, m) > 0.2)
    dense = reference.dense(scores)
    ranked = dense.logits.masked_fill(~dense.allowed, -torch.inf)
    ordered = ranked.sort(dim=-1, descending=True, stable=True)
    expected = ordered.indices.masked_fill(ordered.values == -torch.inf, -1)
    for count in (1, 3, 11, min(m, MOST)):
        assert torch.equal(top(scores, count)[0], expected[..., :count])


@pytest.mark.parametrize("order", [1, -1], ids=["rising", "falling"])
@pytest.mark.usefixtures("isa")
def test_scores_that_rise_or_fall_with_the_key(dtype: torch.dtype, order: int) -> None:
    key = order * torch.arange(1201, dtype=dtype)[:, None]
    index, weight = top(make_scores(torch.ones(3, 1, dtype=dtype), key, causal=True, scale=1.0), MOST)
    for query, last in enumerate((1198, 1199, 1200)):
        expected = range(last, last - MOST, -1) if order == 1 else range(MOST)
        assert index[0, 0, query].tolist() == list(expected)
    assert weight.diff(dim=-1).le(0).all()


@pytest.mark.parametrize("causal", [False, True])
def test_gradcheck(isa: str, causal: bool) -> None:
    query, key, features = (torch.randn(1, 4, n, 3, dtype=torch.float64, requires_grad=True) for n in (5, 7, 7))

    def compute(query: Tensor, key: Tensor, features: Tensor) -> tuple[Tensor, ...]:
        scores = make_scores(query, key[:, :2], causal=causal)
        expectation, _, entropy, *_, weight = native.attend_top(scores, features[:, :2], 6)
        assert expectation is not None
        assert weight is not None
        return expectation, entropy, weight

    assert torch.autograd.gradcheck(compute, (query, key, features))


@pytest.mark.parametrize("wanted", [(0,), (1,)], ids=["query", "key"])
def test_a_gradient_that_nobody_needs_changes_no_other(plain: Callable[..., Any], wanted: tuple[int, ...]) -> None:
    case = plain(1, 2, 1, 13, 17, 5, 3)
    tensors = [torch.randn(1, heads, rows, 5, dtype=torch.float64) for heads, rows in ((2, 13), (1, 17))]
    leaves = [tensors[number].requires_grad_() for number in wanted]
    scores = make_scores(*tensors)
    case.assert_same(top(scores, 3)[1], twin(scores, 3)[1], leaves)


def test_strides_and_scale_do_not_matter(plain: Callable[..., Any]) -> None:
    case = plain(2, 3, 3, 13, 17, 5, 5)
    query = torch.randn(2, 3, 26, 10, dtype=torch.float64)[:, :, ::2, ::2]
    one_head = torch.randn(2, 1, 17, 5, dtype=torch.float64).expand(-1, 3, -1, -1)
    columns = torch.randn(2, 3, 5, 17, dtype=torch.float64).mT
    for key in (one_head, columns):
        leaves = [tensor.detach().requires_grad_() for tensor in (query, key)]
        scores = make_scores(*leaves, scale=-0.7)
        assert torch.equal(top(scores, 5)[0], twin(scores, 5)[0])
        case.assert_same(top(scores, 5)[1], twin(scores, 5)[1], leaves)


@pytest.mark.usefixtures("isa")
def test_what_else_is_wanted_changes_nothing() -> None:
    query, key = torch.randn(2, 131, 5), torch.randn(2, 401, 5)
    scores = make_scores(query, key, key_lengths=[401, 3])
    plain, beside = native.attend(scores, key[:, None]), native.attend_top(scores, key[:, None], 7)
    for one, other in zip(plain, beside, strict=False):
        assert torch.equal(one, other)
    for one, other in zip(top(scores, 7), beside[4:], strict=True):
        assert torch.equal(one, other)
    assert torch.equal(beside[5][..., 0], beside[3])
    for one, other in zip(top(scores, 3), beside[4:], strict=True):
        assert torch.equal(one, other[..., :3])


@pytest.mark.parametrize("size", [1e2, 1e4])
@pytest.mark.usefixtures("isa")
def test_large_scores_keep_the_digits_of_the_weights(size: float) -> None:
    query, key = torch.ones(1, 1), (size + torch.rand(401, 1))
    scores = make_scores(query, key, scale=1.0)
    torch.testing.assert_close(top(scores, 11)[1].double(), twin(scores, 11)[1], rtol=1e-5, atol=0)


@pytest.mark.usefixtures("isa")
def test_a_fully_masked_query_names_no_key_and_passes_no_gradient_on() -> None:
    query, key = torch.randn(5, 3, requires_grad=True), torch.randn(7, 3, requires_grad=True)
    mask = torch.ones(5, 7, dtype=torch.bool)
    mask[2] = False
    index, weight = top(make_scores(query, key, mask=mask), 4)
    assert index[0, 0, 2].eq(-1).all()
    assert weight[0, 0, 2].eq(0).all()
    assert weight[0, 0].sum(-1).gt(0).tolist() == [True, True, False, True, True]
    (1e9 * weight.sum()).backward()
    assert query.grad[2].eq(0).all()
    assert query.grad.isfinite().all()
    assert key.grad.isfinite().all()


@pytest.mark.usefixtures("isa")
def test_nan_is_not_hidden() -> None:
    query, key = torch.randn(3, 5), torch.randn(7, 5)
    query[1, 2] = torch.nan
    assert top(make_scores(query, key), 2)[1].isnan().any(-1).tolist() == [[[False, True, False]]]


@pytest.mark.usefixtures("isa")
def test_an_allowed_key_whose_weight_underflows_is_still_named() -> None:
    key = torch.tensor([0.0, 1e4, -1e4, 5.0])[:, None]
    scores = make_scores(torch.ones(1, 1), key, mask=torch.tensor([[True, True, True, False]]), scale=1.0)
    index, weight = top(scores, 4)
    assert index.tolist() == [[[[1, 0, 2, -1]]]]
    assert weight.tolist() == [[[[1, 0, 0, 0]]]]


@pytest.mark.usefixtures("isa", "small_tiles")
def test_attention_gives_it_natively_up_to_a_count_and_by_chunks_beyond() -> None:
    query, key = torch.randn(2, 3, 31, 5), torch.randn(2, 3, 149, 5)
    for count, backend in ((5, "native"), (MOST, "native"), (MOST + 1, "chunked")):
        options = {"returns": ("entropy", "top"), "top_k": count}
        result, truth = (attention(query, key, backend=name, **options) for name in ("auto", "reference"))
        assert result.backend == backend
        assert torch.equal(result.top.index, truth.top.index)
        torch.testing.assert_close(result.top.weight, truth.top.weight)
        torch.testing.assert_close(result.entropy, truth.entropy)
    with pytest.raises(ValueError, match=rf"it ranks up to {MOST} keys of each query, top_index asks for {MOST + 1}"):
        attention(query, key, backend="native", **options)
