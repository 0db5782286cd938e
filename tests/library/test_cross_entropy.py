"""Cross-entropy to a target or a probability: meaning, reading of targets, refusals."""

import math

import pytest
import torch
from torch import Tensor

from attnloss import FieldError
from attnloss.losses import cross_entropy

BATCH, HEADS, N, M, D = 2, 3, 5, 7, 3


def problem(shape: tuple[int, ...] = (BATCH, HEADS)) -> tuple[Tensor, Tensor]:
    return (
        torch.randn(*shape, N, D, dtype=torch.float64, requires_grad=True),
        torch.randn(*shape, M, D, dtype=torch.float64, requires_grad=True),
    )


def distribution(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64).softmax(-1).requires_grad_()


MASK = torch.tensor([[(i + j) % 4 != 0 for j in range(M)] for i in range(N)])


@pytest.mark.parametrize("field", ["target", "probability"])
@pytest.mark.parametrize("shape", [(N, M), (1, 1, N, M), (BATCH, 1, N, M), (1, HEADS, N, M), (BATCH, HEADS, N, M)])
@pytest.mark.parametrize("eps", [0.0, 0.1])
@pytest.mark.usefixtures("tiled")
def test_dense_agrees_with_the_twin_and_passes_gradients_to_the_map(
    field: str, shape: tuple[int, ...], eps: float
) -> None:
    query, key = problem()
    given = distribution(*shape)
    results = []
    for backend in ("chunked", "reference"):
        loss = cross_entropy(query, key, **{field: given}, eps=eps, backend=backend)
        results.append((loss, *torch.autograd.grad(loss, (query, key, given))))
    torch.testing.assert_close(*results, rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(N,), (1, HEADS, N), (BATCH, HEADS, N)])
@pytest.mark.parametrize("options", [{}, {"eps": 0.2}, {"mask": MASK, "eps": 0.2}, {"causal": True, "eps": 0.2}])
@pytest.mark.usefixtures("tiled")
def test_index_agrees_with_the_twin(shape: tuple[int, ...], options: dict[str, object]) -> None:
    query, key = problem()
    target = torch.randint(M, shape)
    results = []
    for backend in ("chunked", "reference"):
        loss = cross_entropy(query, key, target=target, backend=backend, **options)
        results.append((loss, *torch.autograd.grad(loss, (query, key))))
    torch.testing.assert_close(*results, rtol=0, atol=1e-12)


@pytest.mark.parametrize("options", [{}, {"eps": 0.2}, {"causal": True, "eps": 0.2}])
def test_index_by_flash_agrees_with_the_twin(options: dict[str, object]) -> None:
    query = torch.randn(BATCH, HEADS, M, D, dtype=torch.float64, requires_grad=True)
    key = problem()[1]
    target = torch.randint(M, (M,))
    results = []
    for backend in ("flash", "reference"):
        loss = cross_entropy(query, key, target=target, backend=backend, **options)
        results.append((loss, *torch.autograd.grad(loss, (query, key))))
    torch.testing.assert_close(*results, rtol=0, atol=1e-12)


def test_the_dense_target_of_an_index_is_its_one_hot_row() -> None:
    query, key = problem()
    target = torch.randint(M, (N,))
    one_hot = torch.nn.functional.one_hot(target, M)
    index = cross_entropy(query, key, target=target)
    torch.testing.assert_close(index, cross_entropy(query, key, target=one_hot))
    torch.testing.assert_close(index, cross_entropy(query, key, target=one_hot.double(), kind="dense"))


def test_uniform_probability_costs_log_m() -> None:
    query, key = problem()
    loss = cross_entropy(query, key, probability=torch.full((N, M), 1 / M))
    assert loss.item() == pytest.approx(math.log(M))


def test_integers_that_fit_both_kinds_are_ambiguous() -> None:
    query, key = torch.randn(2, N, D), torch.randn(2, N, D)
    target = torch.eye(2, N, dtype=torch.int64)
    assert cross_entropy(query, key, target=target).isfinite()
    query, key = torch.randn(N, N, D), torch.randn(N, N, D)
    target = torch.eye(N, dtype=torch.int64)
    with pytest.raises(FieldError, match="ambiguous") as caught:
        cross_entropy(query, key, target=target)
    assert caught.value.field == "target"
    assert cross_entropy(query, key, target=target, kind="index") != cross_entropy(
        query, key, target=target, kind="dense"
    )


def test_mass_on_keys_that_are_not_allowed_does_not_count() -> None:
    query, key = problem(())
    inside = distribution(N, M).detach() * MASK
    inside = inside / inside.sum(-1, keepdim=True)
    outside = torch.where(MASK, inside, 0.7)
    for field in ("target", "probability"):
        losses = [cross_entropy(query, key, **{field: given}, mask=MASK, eps=0.01) for given in (inside, outside)]
        torch.testing.assert_close(*losses)


def test_zero_probability_where_the_weight_is_exactly_zero_counts_zero() -> None:
    query, key = torch.ones(1, 1), torch.tensor([[0.0], [1e4]])
    assert cross_entropy(query, key, probability=torch.tensor([[0.0, 1.0]])) == 0


def test_zero_probability_where_the_weight_is_not_is_refused_with_its_query() -> None:
    query, key = problem((BATCH,))
    probability = torch.full((BATCH, N, M), 1 / M)
    probability[1, 3] = torch.eye(M)[2]
    with pytest.raises(FieldError, match=r"infinite.*query 3") as caught:
        cross_entropy(query, key, probability=probability)
    assert (caught.value.field, caught.value.index) == ("probability", (1, 3))
    assert cross_entropy(query, key, probability=probability, eps=1e-6).isfinite()


@pytest.mark.parametrize("shape", [(N, M), (BATCH, HEADS, N, M)])
def test_a_row_that_is_no_distribution_is_named_with_its_sum(shape: tuple[int, ...]) -> None:
    query, key = problem()
    target = distribution(*shape).detach()
    target[(*(-1,) * (len(shape) - 2), 3)] *= 1.5
    with pytest.raises(FieldError, match=r"sum of 1\.5") as caught:
        cross_entropy(query, key, target=target)
    assert caught.value.index == ((3,) if len(shape) == 2 else (1, 2, 3))
    target[(*(-1,) * (len(shape) - 2), 3)] = torch.tensor([2.0, -1, 0, 0, 0, 0, 0])
    with pytest.raises(FieldError, match="least value of -1"):
        cross_entropy(query, key, target=target)


def test_an_index_out_of_range_is_refused_unless_its_query_is_invalid() -> None:
    query, key = problem((BATCH,))
    target = torch.tensor([[0, 1, 2, 3, 4], [0, 1, 2, 9, -1]])
    with pytest.raises(FieldError, match=r"within 0…6, got 9") as caught:
        cross_entropy(query, key, target=target, kind="index")
    assert caught.value.index == (1, 3)
    assert cross_entropy(query, key, target=target, query_lengths=[5, 3]).isfinite()


def test_an_index_that_the_query_may_not_attend_to_is_infinite_and_refused() -> None:
    query, key = problem(())
    with pytest.raises(FieldError, match=r"infinite: target\[1\] is key 6") as caught:
        cross_entropy(query, key, target=torch.tensor([0, 6, 0, 0, 0]), causal=True)
    assert caught.value.index == (1,)


def test_both_or_neither_of_target_and_probability_are_refused() -> None:
    query, key = problem(())
    given = distribution(N, M).detach()
    with pytest.raises(FieldError, match="got neither"):
        cross_entropy(query, key)
    with pytest.raises(FieldError, match="got both"):
        cross_entropy(query, key, target=given, probability=given)


@pytest.mark.parametrize("eps", [-0.1, 1.0, math.nan])
def test_eps_outside_zero_to_one_is_refused(eps: float) -> None:
    with pytest.raises(FieldError, match="eps must be within"):
        cross_entropy(*problem(()), target=torch.zeros(N, dtype=torch.int64), eps=eps)
