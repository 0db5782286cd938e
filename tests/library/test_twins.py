"""Every public function agrees with its float64 twin, forward and backward."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from attnloss import attention, expect, losses, lse

BATCH, HEADS, KEY_HEADS, N, M, D, DV = 2, 6, 3, 7, 11, 5, 3

LENGTHS = {"query_lengths": [7, 4], "key_lengths": [11, 5]}
OPTIONS = {
    "plain": {},
    "causal": {"causal": True},
    "lengths": LENGTHS,
    "causal lengths": {"causal": True, **LENGTHS},
    "mask": {"mask": torch.arange(N * M).reshape(N, M) % 3 != 0},
    "all at once": {"causal": True, "mask": torch.arange(N * M).reshape(N, M) % 5 > 1, **LENGTHS},
    "empty rows": {"mask": (torch.arange(N) % 2 == 0)[:, None].expand(N, M)},
    "scale": {"scale": 1.7},
}


def inputs(n: int = N, m: int = M, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    query = torch.randn(BATCH, HEADS, n, D, dtype=dtype, requires_grad=True)
    key = torch.randn(BATCH, KEY_HEADS, m, D, dtype=dtype, requires_grad=True)
    value = torch.randn(BATCH, KEY_HEADS, m, DV, dtype=dtype, requires_grad=True)
    return query, key, value


def statistic(name: str) -> Callable[..., Tensor]:
    def compute(query: Tensor, key: Tensor, value: Tensor, **options: object) -> Tensor:
        result = attention(query, key, value, returns=(name,), top_k=4 if name == "top" else None, **options)
        return result.top.weight if name == "top" else getattr(result, name)

    return compute


def loss(name: str, **parameters: object) -> Callable[..., Tensor]:
    def compute(query: Tensor, key: Tensor, value: Tensor, **options: object) -> Tensor:
        return getattr(losses, name)(query, key, **parameters, reduction="none", **options)

    return compute


FUNCTIONS = {
    "expect": expect,
    "lse": lambda query, key, value, **options: lse(query, key, **options),
    **{name: statistic(name) for name in ("output", "weights", "lse", "entropy", "max", "received", "top")},
    "loss entropy": loss("entropy"),
    "loss row_sum": loss("row_sum"),
}


def with_gradient(compute: Callable[..., Tensor], tensors: tuple[Tensor, ...], **options: object) -> list[Tensor]:
    """The finite part of the result, and the gradients of a fixed combination of it."""
    result = compute(*tensors, **options)
    result = torch.where(result.isneginf(), 0.0, result)
    combined = (result * torch.linspace(-1, 1, result.numel(), dtype=result.dtype).view_as(result)).sum()
    return [result, *torch.autograd.grad(combined, tensors, materialize_grads=True)]


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
@pytest.mark.parametrize("compute", FUNCTIONS.values(), ids=FUNCTIONS.keys())
@pytest.mark.usefixtures("tiled")
def test_chunked_agrees_with_the_twin(compute: Callable[..., Tensor], options: dict[str, object]) -> None:
    tensors = inputs()
    fast = with_gradient(compute, tensors, backend="chunked", **options)
    truth = with_gradient(compute, tensors, backend="reference", **options)
    torch.testing.assert_close(fast, truth, rtol=0, atol=1e-12)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("name", ["expect", "output", "lse", "entropy", "loss entropy"])
def test_flash_agrees_with_the_twin(name: str, causal: bool) -> None:
    tensors = inputs(n=M)
    fast = with_gradient(FUNCTIONS[name], tensors, backend="flash", causal=causal)
    truth = with_gradient(FUNCTIONS[name], tensors, backend="reference", causal=causal)
    torch.testing.assert_close(fast, truth, rtol=0, atol=1e-12)


@pytest.mark.usefixtures("small_tiles")
def test_gradients_of_several_results_add_up() -> None:
    def together(query: Tensor, key: Tensor, value: Tensor, backend: str) -> Tensor:
        names = ("output", "lse", "entropy")
        result = attention(query, key, value, returns=names, backend=backend)
        return torch.cat([getattr(result, name).flatten().sin() for name in names])

    tensors = inputs()
    truth = with_gradient(together, tensors, backend="reference")
    for backend in ("chunked", "flash"):
        torch.testing.assert_close(with_gradient(together, tensors, backend=backend), truth, rtol=0, atol=1e-12)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("backend", ["chunked", "flash"])
@pytest.mark.usefixtures("tiled")
def test_gradcheck_passes_in_float64(backend: str, causal: bool) -> None:
    query = torch.randn(1, 4, 3, 3, dtype=torch.float64, requires_grad=True)
    key = torch.randn(1, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    value = torch.randn(1, 2, 3, 2, dtype=torch.float64, requires_grad=True)

    def compute(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, ...]:
        result = attention(query, key, value, returns=("output", "lse", "entropy"), causal=causal, backend=backend)
        index = losses.cross_entropy(
            query, key, target=torch.zeros(3, dtype=torch.int64), causal=causal, backend=backend
        )
        return result.output, result.lse, result.entropy, index

    assert torch.autograd.gradcheck(compute, (query, key, value), fast_mode=False)


@pytest.mark.parametrize("shape", [(7, 5), (2, 7, 5), (2, 3, 7, 5)])
def test_results_have_the_rank_of_the_inputs(shape: tuple[int, ...]) -> None:
    query, key = torch.randn(shape), torch.randn(*shape[:-2], 11, 5)
    value = torch.randn(*shape[:-2], 11, 3)
    names = ("output", "weights", "lse", "entropy", "max", "received", "top")
    result = attention(query, key, value, returns=names, top_k=2)
    lead = shape[:-2]
    assert result.output.shape == (*lead, 7, 3)
    assert result.weights.shape == (*lead, 7, 11)
    assert result.lse.shape == result.entropy.shape == result.max.shape == (*lead, 7)
    assert result.received.shape == (*lead, 11)
    assert result.top.index.shape == result.top.weight.shape == (*lead, 7, 2)
    assert losses.entropy(query, key, reduction="none").shape == (*lead, 7)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_computes_statistics_in_float32(dtype: torch.dtype) -> None:
    tensors = [tensor.to(dtype) for tensor in inputs()]
    result = attention(*tensors, returns=("output", "entropy", "weights"))
    wide = attention(*(tensor.float() for tensor in tensors), returns=("output", "entropy", "weights"))
    assert result.output.dtype == dtype
    assert result.entropy.dtype == result.weights.dtype == torch.float32
    assert torch.equal(result.entropy, wide.entropy)
    assert torch.equal(result.output, wide.output.to(dtype))
