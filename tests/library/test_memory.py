"""Nothing of size n·m is made unless it was asked for, forward or backward."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from attnloss import attention, losses, tiling

pytestmark = pytest.mark.usefixtures("fresh_workspace")

N = 1024


class LargestTensor(TorchDispatchMode):
    """Remembers the most elements that any operation made anew."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for made in result if isinstance(result, tuple) else (result,):
            if isinstance(made, torch.Tensor) and made._base is None:
                self.elements = max(self.elements, made.untyped_storage().nbytes() // made.element_size())
        return result


def largest(n: int, returns: tuple[str, ...], backend: str, grad: bool, **options: object) -> int:
    query, key, value = (torch.randn(1, 1, n, 8, requires_grad=grad) for _ in range(3))
    with LargestTensor() as seen:
        result = attention(query, key, value, returns=returns, backend=backend, **options)
        if grad:
            sum(getattr(result, name).sum() for name in returns).backward()
    return seen.elements


@pytest.mark.parametrize("grad", [False, True], ids=["forward", "forward and backward"])
@pytest.mark.parametrize(
    ("backend", "returns"),
    [("chunked", ("output", "lse", "entropy", "max", "received")), ("flash", ("output", "lse", "entropy"))],
)
def test_no_tensor_of_the_size_of_the_map_is_made(
    monkeypatch: pytest.MonkeyPatch, backend: str, returns: tuple[str, ...], grad: bool
) -> None:
    monkeypatch.setattr(tiling, "TILE_SCORES", 1 << 15)
    assert largest(N, returns, backend, grad) <= max(1 << 15, 16 * N)
    assert largest(2 * N, returns, backend, grad) <= max(1 << 15, 32 * N)


def test_causal_and_lengths_make_no_map_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiling, "TILE_SCORES", 1 << 15)
    options = {"causal": True, "key_lengths": [N - 3]}
    assert largest(N, ("output", "entropy"), "chunked", grad=True, **options) <= 1 << 15


def test_an_index_target_makes_no_map(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiling, "TILE_SCORES", 1 << 15)
    query, key = (torch.randn(N, 8, requires_grad=True) for _ in range(2))
    for backend in ("chunked", "flash"):
        with LargestTensor() as seen:
            losses.cross_entropy(query, key, target=torch.arange(N), causal=True, backend=backend).backward()
        assert seen.elements <= 1 << 15


def test_only_the_window_of_the_weights_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiling, "TILE_SCORES", 1 << 15)
    options = {"queries": (100, 140), "keys": (0, 50)}
    assert largest(N, ("weights",), "chunked", grad=False, **options) <= 40 * N


@pytest.mark.usefixtures("small_tiles")
def test_no_result_reads_memory_that_was_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    query, key, value = (torch.randn(2, 3, 13, 5, requires_grad=True) for _ in range(3))
    returns = ("output", "weights", "lse", "entropy", "max", "received")
    torch.use_deterministic_algorithms(True)
    try:
        assert torch.empty(3).isnan().all()
        result = attention(query, key, value, returns=returns, causal=True, key_lengths=[13, 5])
        sum(getattr(result, name).nan_to_num(neginf=0).sum() for name in returns).backward()
    finally:
        torch.use_deterministic_algorithms(False)
    assert not any(getattr(result, name).isnan().any() for name in returns)
    assert all(tensor.grad.isfinite().all() for tensor in (query, key, value))
