"""Scores with a cap and a bias: every way to compute them gives what softmax gives."""

import pytest
import torch
from torch import Tensor

from attnloss.attention import functionals
from attnloss.biased import BiasedScores, make_biased, split_additive
from attnloss.loss import evaluate_losses
from attnloss.losses import build
from attnloss.scores import make_other, make_scores
from attnloss.streaming import evaluate

RETURNS = ("output", "weights", "lse", "entropy", "max", "received", "top")


def problem(
    bias_shape: tuple[int, ...] | None, softcap: float | None, dtype: torch.dtype
) -> tuple[BiasedScores, Tensor]:
    query, key, value = (torch.randn(2, heads, rows, 5, dtype=dtype) for heads, rows in ((6, 11), (2, 13), (2, 13)))
    bias = None if bias_shape is None else torch.randn(bias_shape, dtype=dtype).requires_grad_()
    scores = make_scores(query.requires_grad_(), key.requires_grad_(), causal=True, key_lengths=[13, 7], scale=0.9)
    return make_biased(scores, bias=bias, softcap=softcap), value.requires_grad_()


@pytest.mark.usefixtures("tiled")
@pytest.mark.parametrize("softcap", [None, 1.5])
@pytest.mark.parametrize("bias_shape", [None, (1, 6, 11, 13), (2, 1, 1, 13), (2, 6, 11, 13), (1, 1, 11, 13)])
def test_chunks_agree_with_the_reference_forward_and_backward(
    bias_shape: tuple[int, ...] | None, softcap: float | None
) -> None:
    scores, value = problem(bias_shape, softcap, torch.float32)
    leaves = [scores.query, scores.key, value, *([] if scores.bias is None else [scores.bias])]
    found = []
    for backend in ("chunked", "reference"):
        values = evaluate(scores, functionals(scores, RETURNS, value=value, top_k=3), backend=backend).values
        total = sum((part.nan_to_num(neginf=0) ** 2).sum() for part in values.values() if part.is_floating_point())
        found.append(([*values.values()], torch.autograd.grad(total, leaves)))
    with torch.no_grad():
        values = evaluate(scores, functionals(scores, RETURNS, value=value, top_k=3), backend="chunked").values
    for mine, plain, truth in zip(found[0][0], values.values(), found[1][0], strict=True):
        torch.testing.assert_close(mine, truth, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(plain, truth, atol=1e-5, rtol=1e-4)
    for mine, truth in zip(found[0][1], found[1][1], strict=True):
        torch.testing.assert_close(mine, truth, atol=1e-4, rtol=1e-4)


def test_the_weights_are_the_softmax_of_capped_scores_plus_bias() -> None:
    query, key, bias = torch.randn(1, 1, 5, 3), torch.randn(1, 1, 7, 3), torch.randn(1, 1, 5, 7)
    scores = make_biased(make_scores(query, key, scale=2.0), bias=bias, softcap=3.0)
    weights = evaluate(scores, functionals(scores, ["weights"])).values["weights"]
    torch.testing.assert_close(weights, (3 * torch.tanh(2 * query @ key.mT / 3) + bias).softmax(-1))
    logits = 3 * torch.tanh(2 * query @ key.mT / 3) + bias
    assert float(logits.abs().max()) <= scores.bound + 1e-6


@pytest.mark.parametrize("backend", ["native", "flash"])
def test_fused_backends_refuse_what_they_cannot_see(backend: str) -> None:
    scores, value = problem((1, 6, 11, 13), None, torch.float32)
    with pytest.raises(ValueError, match=f"backend {backend} cannot"):
        evaluate(scores, functionals(scores, ["output"], value=value), backend=backend)
    assert evaluate(scores, functionals(scores, ["output"], value=value)).backend == "chunked"


@pytest.mark.parametrize("name", ["kl", "js", "cosine", "map_mse"])
def test_losses_between_two_maps_take_them(name: str) -> None:
    scores, _ = problem((1, 6, 11, 13), 1.5, torch.float32)
    other = make_other(scores, torch.randn(2, 6, 11, 5), torch.randn(2, 3, 13, 5))
    loss = build(name, scores, {"other": other})
    found = [evaluate_losses(scores, {"": loss}, backend=backend)[0][""] for backend in ("chunked", "reference")]
    torch.testing.assert_close(*found, atol=1e-5, rtol=1e-4)


def test_gradients_pass_gradcheck() -> None:
    query, key = (torch.randn(1, 2, rows, 3, dtype=torch.float64, requires_grad=True) for rows in (5, 7))
    bias = torch.randn(1, 2, 5, 7, dtype=torch.float64, requires_grad=True)

    def entropy(query: Tensor, key: Tensor, bias: Tensor) -> Tensor:
        scores = make_biased(make_scores(query, key, causal=True), bias=bias, softcap=1.5)
        return evaluate(scores, functionals(scores, ["entropy"]), backend="chunked").values["entropy"]

    assert torch.autograd.gradcheck(entropy, (query, key, bias))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_an_additive_mask_splits_into_what_it_denies_and_what_it_adds(dtype: torch.dtype) -> None:
    least = torch.finfo(dtype).min
    row = torch.tensor([[[[0.0, least, -torch.inf, 0.0]]]], dtype=dtype)
    allowed, bias = split_additive(row)
    assert allowed is not None
    assert allowed.flatten().tolist() == [True, False, False, True]
    assert bias is None
    allowed, bias = split_additive(torch.tensor([[[[0.0, 2.0, -3.0]]]], dtype=dtype))
    assert allowed is None
    assert bias is not None
    assert bias.flatten().tolist() == [0.0, 2.0, -3.0]
