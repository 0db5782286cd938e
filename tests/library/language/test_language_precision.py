"""Narrow dtypes, autocast, and memory that nobody wrote."""

import pytest
import torch
import torch.nn.functional as F

from attnloss import language

TOKENS, WIDTH, WORDS = 61, 37, 1009
NATS = 5e-3


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_narrow_inputs_lose_nothing_beyond_their_own_rounding(dtype: torch.dtype) -> None:
    hidden, weight = (torch.randn(size, WIDTH).to(dtype).requires_grad_() for size in (TOKENS, WORDS))
    targets = torch.randint(WORDS, (TOKENS,))
    results = []
    for given in ((hidden, weight), tuple(leaf.detach().double().requires_grad_() for leaf in (hidden, weight))):
        scores = language.token_scores(*given, targets, entropy=True, top_k=3)
        total = scores.log_prob.sum() + scores.entropy.sum() + scores.lse.sum()
        results.append((scores, torch.autograd.grad(total, given)))
    (narrow, flows), (wide, exact_flows) = results
    for name in ("lse", "log_prob", "entropy"):
        value = getattr(narrow, name)
        assert value.dtype == torch.float32
        assert (value - getattr(wide, name)).abs().max() <= NATS / 50
    assert (narrow.top.values - wide.top.values).abs().max() <= NATS / 50
    for flow, exact in zip(flows, exact_flows, strict=True):
        assert flow.dtype == dtype
        torch.testing.assert_close(flow, exact.to(dtype), rtol=2 * torch.finfo(dtype).eps, atol=1e-4)


def test_float32_is_as_near_to_the_truth_as_torch_is() -> None:
    hidden, weight = (torch.randn(size, WIDTH) for size in (TOKENS, WORDS))
    targets = torch.randint(WORDS, (TOKENS,))
    truth = F.cross_entropy(hidden.double() @ weight.double().mT, targets, reduction="none")
    naive = F.cross_entropy(hidden @ weight.mT, targets, reduction="none")
    ours = language.surprisal(hidden, weight, targets)
    assert (ours - truth).abs().max() <= 2 * (naive - truth).abs().max() + 1e-6


@pytest.mark.parametrize("backend", ["chunked", "linear"])
def test_autocast_around_the_call_changes_nothing(backend: str) -> None:
    if backend == "linear" and not hasattr(F, "linear_cross_entropy"):
        pytest.skip("came with torch 2.13")
    hidden, weight = (torch.randn(size, WIDTH, requires_grad=True) for size in (TOKENS, WORDS))
    targets = torch.randint(WORDS, (TOKENS,))
    results = []
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            loss = language.cross_entropy(hidden, weight, targets, backend=backend)
            results.append((loss, *torch.autograd.grad(loss, (hidden, weight))))
    torch.testing.assert_close(*results, rtol=0, atol=0)


@pytest.mark.usefixtures("small_tiles")
def test_no_result_reads_memory_that_was_not_written() -> None:
    hidden, weight, bias = (torch.randn(*shape, requires_grad=True) for shape in ((11, 3), (29, 3), (29,)))
    torch.use_deterministic_algorithms(True)
    try:
        assert torch.empty(3).isnan().all()
        scores = language.token_scores(hidden, weight, torch.arange(11), bias=bias, entropy=True, top_k=23)
        values = (scores.lse, scores.log_prob, scores.entropy, scores.top.values)
        flows = torch.autograd.grad(sum(value.sum() for value in values), (hidden, weight, bias))
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(part.isfinite().all() for part in (*values, *flows))


def test_it_runs_in_inference_mode_and_on_strided_inputs() -> None:
    hidden, weight = torch.randn(WIDTH, TOKENS).mT, torch.randn(WIDTH, WORDS).mT
    targets = torch.randint(WORDS, (2 * TOKENS,))[::2]
    with torch.inference_mode():
        loss = language.cross_entropy(hidden, weight, targets.to(torch.int32), smoothing=0.1)
    torch.testing.assert_close(loss, F.cross_entropy(hidden @ weight.mT, targets, label_smoothing=0.1))
