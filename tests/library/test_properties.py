"""Properties that hold for every input, searched by Hypothesis."""

import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from torch import Tensor

from attnloss import attention, losses, tiling

NAMES = ("output", "weights", "lse", "entropy", "max", "received")
SETTINGS = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def problems(draw: st.DrawFn) -> tuple[tuple[Tensor, Tensor, Tensor], dict[str, object]]:
    """Inputs of any rank, head grouping, size, stride and magnitude, and any way to mask them."""
    rank = draw(st.sampled_from([2, 3, 4]))
    n, m, d, dv = (draw(st.integers(1, 9)) for _ in range(4))
    key_heads = draw(st.integers(1, 3))
    batch = (draw(st.integers(1, 3)),) if rank > 2 else ()
    heads = ((key_heads * draw(st.integers(1, 3)),), (key_heads,)) if rank == 4 else ((), ())
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    size = draw(st.sampled_from([0.0, 1.0, 30.0, 1e4]))

    def tensor(*shape: int) -> Tensor:
        made = torch.randn(*shape[:-2], shape[-1], shape[-2], generator=generator, dtype=torch.float64).mT
        return made if draw(st.booleans()) else made.contiguous()

    inputs = (
        tensor(*batch, *heads[0], n, d) * size,
        tensor(*batch, *heads[1], m, d),
        tensor(*batch, *heads[1], m, dv),
    )
    options: dict[str, object] = {"causal": draw(st.booleans())}
    if draw(st.booleans()):
        options["mask"] = torch.rand(n, m, generator=generator) < draw(st.sampled_from([0.0, 0.3, 0.9]))
    for name, longest in (("query_lengths", n), ("key_lengths", m)):
        if draw(st.booleans()):
            entries = (batch or (1,))[0]
            options[name] = [draw(st.integers(0, longest)) for _ in range(entries)]
    return inputs, options


@pytest.mark.parametrize("tile", [7, 1 << 18])
@SETTINGS
@given(problem=problems())
def test_chunked_is_the_twin_whatever_the_request(
    monkeypatch: pytest.MonkeyPatch, tile: int, problem: tuple[tuple[Tensor, ...], dict[str, object]]
) -> None:
    monkeypatch.setattr(tiling, "TILE_SCORES", tile)
    monkeypatch.setattr(tiling, "FEWEST_ROWS", 1)
    inputs, options = problem
    fast = attention(*inputs, returns=NAMES, backend="chunked", **options)
    truth = attention(*inputs, returns=NAMES, backend="reference", **options)
    for name in NAMES:
        torch.testing.assert_close(getattr(fast, name), getattr(truth, name), rtol=1e-9, atol=1e-9)


@SETTINGS
@given(problem=problems())
def test_weights_of_valid_queries_sum_to_one_in_float32(
    problem: tuple[tuple[Tensor, ...], dict[str, object]],
) -> None:
    inputs, options = problem
    result = attention(*(tensor.float() for tensor in inputs), returns=("weights", "lse"), **options)
    valid = result.lse.isfinite().float()
    torch.testing.assert_close(result.weights.sum(-1), valid, rtol=0, atol=1e-6)


@SETTINGS
@given(problem=problems())
def test_one_batch_entry_alone_is_itself_among_others(
    problem: tuple[tuple[Tensor, ...], dict[str, object]],
) -> None:
    inputs, options = problem
    if inputs[0].ndim == 2:
        return
    together = attention(*inputs, returns=NAMES, **options)
    own = dict(options)
    for name in ("query_lengths", "key_lengths"):
        if name in options:
            own[name] = options[name][-1:]
    alone = attention(*(tensor[-1:] for tensor in inputs), returns=NAMES, **own)
    for name in NAMES:
        torch.testing.assert_close(getattr(together, name)[-1:], getattr(alone, name), rtol=1e-9, atol=1e-9)


def random_inputs() -> tuple[Tensor, Tensor, Tensor]:
    return tuple(torch.randn(2, 3, size, 5, dtype=torch.float64) for size in (7, 11, 11))


def test_adding_one_vector_to_all_keys_changes_no_weight() -> None:
    query, key, value = random_inputs()
    shifted = attention(query, key + torch.randn(5), value, returns=("output", "weights", "entropy"))
    plain = attention(query, key, value, returns=("output", "weights", "entropy"))
    for name in ("output", "weights", "entropy"):
        torch.testing.assert_close(getattr(shifted, name), getattr(plain, name))


def test_permuting_the_keys_permutes_weights_and_received_alone() -> None:
    query, key, value = random_inputs()
    order = torch.randperm(11)
    permuted = attention(query, key[:, :, order], value[:, :, order], returns=NAMES)
    plain = attention(query, key, value, returns=NAMES)
    for name in ("output", "lse", "entropy", "max"):
        torch.testing.assert_close(getattr(permuted, name), getattr(plain, name))
    for name in ("weights", "received"):
        torch.testing.assert_close(getattr(permuted, name), getattr(plain, name)[..., order])


def test_the_size_of_the_tiles_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = random_inputs()
    plain = attention(*inputs, returns=NAMES)
    monkeypatch.setattr(tiling, "FEWEST_ROWS", 1)
    for size in (1, 11, 23, 77, 154, 300):
        monkeypatch.setattr(tiling, "TILE_SCORES", size)
        tiled = attention(*inputs, returns=NAMES)
        for name in NAMES:
            torch.testing.assert_close(getattr(tiled, name), getattr(plain, name))


def test_equal_scores_have_an_entropy_of_log_m_and_one_key_of_zero() -> None:
    assert losses.entropy(torch.zeros(3, 5), torch.randn(11, 5)).item() == pytest.approx(math.log(11))
    assert losses.entropy(torch.randn(3, 5), torch.randn(1, 5)).item() == 0
    peaked = attention(torch.full((1, 1), 1e4), torch.tensor([[0.0], [1.0]]), returns=("entropy", "max"))
    assert peaked.entropy.item() == 0
    assert peaked.max.item() == 1


def test_row_sum_is_zero_for_every_input_and_so_is_its_gradient() -> None:
    query, key, _ = (tensor.float().requires_grad_() for tensor in random_inputs())
    loss = losses.row_sum(query, key)
    assert abs(loss.item()) < 1e-6
    assert all(gradient.abs().max() < 1e-6 for gradient in torch.autograd.grad(loss, (query, key)))
