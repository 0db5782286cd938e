"""Every function against its float64 twin, forward and backward, on distinct primes; and gradcheck."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from attnloss import language

BATCH, LENGTH, WIDTH, WORDS = 2, 7, 5, 13
PADDING = 3

pytestmark = pytest.mark.usefixtures("tiled")


def problem(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    shapes = ((BATCH, LENGTH, WIDTH), (WORDS, WIDTH), (WORDS,))
    hidden, weight, bias = (torch.randn(*shape).to(dtype).requires_grad_() for shape in shapes)
    targets = torch.randint(WORDS, (BATCH, LENGTH))
    targets[1, 2:4] = PADDING
    return hidden, weight, bias, targets


def scores(hidden: Tensor, weight: Tensor, targets: Tensor | None, **options: object) -> Tensor:
    result = language.token_scores(hidden, weight, targets, entropy=True, top_k=4, **options)
    assert result.entropy is not None
    assert result.top is not None
    parts = [result.lse, result.entropy, *result.top.values.unbind(-1)]
    return torch.stack(parts if result.log_prob is None else [*parts, result.log_prob])


FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "cross-entropy": language.cross_entropy,
    "smoothed as torch": lambda *a, **o: language.cross_entropy(*a, smoothing=0.1, **o),
    "smoothed as transformer": lambda *a, **o: language.cross_entropy(*a, smoothing=0.1, convention="transformer", **o),
    "smoothed as opennmt": lambda *a, **o: language.cross_entropy(*a, smoothing=0.1, convention="opennmt", **o),
    "opennmt unsmoothed": lambda *a, **o: language.cross_entropy(*a, convention="opennmt", **o),
    "with z-loss": lambda *a, **o: language.cross_entropy(*a, z_coefficient=0.3, smoothing=0.2, **o),
    "summed": lambda *a, **o: language.cross_entropy(*a, reduction="sum", **o),
    "z-loss": lambda *a, **o: language.z_loss(*a, coefficient=0.3, reduction="none", **o),
    "log-probabilities": language.token_log_probs,
    "surprisal": language.surprisal,
    "perplexity": language.perplexity,
    "bits per byte": lambda *a, **o: language.bits_per_byte(*a, 31, **o),
    "scores": scores,
}


def with_gradients(function: Callable[..., Tensor], leaves: tuple[Tensor, ...], targets: Tensor, **options: object):
    hidden, weight, *bias = leaves
    value = function(hidden, weight, targets, bias=bias[0] if bias else None, ignore_index=PADDING, **options)
    direction = torch.linspace(-1, 2, value.numel(), dtype=value.dtype).view(value.shape)
    return value, *torch.autograd.grad((value * direction).sum() + value.sum(), leaves)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("biased", [False, True], ids=["without bias", "with bias"])
@pytest.mark.parametrize("backend", ["auto", "chunked"])
def test_every_function_agrees_with_its_twin_forward_and_backward(name: str, biased: bool, backend: str) -> None:
    *leaves, targets = problem()
    leaves = tuple(leaves if biased else leaves[:2])
    fast, twin = (with_gradients(FUNCTIONS[name], leaves, targets, backend=b) for b in (backend, "reference"))
    torch.testing.assert_close(fast, twin, rtol=1e-12, atol=1e-12)


LINEAR = ["cross-entropy", "summed", "surprisal", "log-probabilities", "perplexity", "bits per byte"]


@pytest.mark.skipif(not hasattr(torch.nn.functional, "linear_cross_entropy"), reason="came with torch 2.13")
@pytest.mark.parametrize("name", LINEAR)
@pytest.mark.parametrize("biased", [False, True], ids=["without bias", "with bias"])
def test_the_linear_backend_agrees_with_the_twin(name: str, biased: bool) -> None:
    *leaves, targets = problem()
    leaves = tuple(leaves if biased else leaves[:2])
    fast, twin = (with_gradients(FUNCTIONS[name], leaves, targets, backend=b) for b in ("linear", "reference"))
    torch.testing.assert_close(fast, twin, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradcheck_passes_on_the_chunked_path(name: str) -> None:
    *leaves, targets = problem()

    def function(hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return FUNCTIONS[name](hidden, weight, targets, bias=bias, ignore_index=PADDING, backend="chunked")

    assert gradcheck(function, leaves)


@pytest.mark.parametrize("wanted", [(0,), (1,), (2,), (0, 2), (1, 2)])
def test_only_the_gradients_that_are_needed_are_made(wanted: tuple[int, ...]) -> None:
    *leaves, targets = problem()
    both = []
    for backend in ("chunked", "reference"):
        given = [leaf.detach().requires_grad_(number in wanted) for number, leaf in enumerate(leaves)]
        loss = language.cross_entropy(given[0], given[1], targets, bias=given[2], backend=backend)
        both.append(torch.autograd.grad(loss, [given[number] for number in wanted]))
    torch.testing.assert_close(*both, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_given_logits_agree_with_their_twin(smoothing: float) -> None:
    *_, targets = problem()
    logits = torch.randn(BATCH, LENGTH, WORDS, dtype=torch.float64, requires_grad=True)
    both = []
    for backend in ("chunked", "reference"):
        options = {"ignore_index": PADDING, "backend": backend}
        loss = language.cross_entropy_from_logits(logits, targets, smoothing=smoothing, z_coefficient=0.1, **options)
        result = language.token_scores_from_logits(logits, targets, entropy=True, top_k=3, **options)
        total = loss + result.entropy.sum() + result.top.values.square().sum() + result.log_prob.sum()
        both.append((loss, result.lse, result.entropy, result.top.indices, *torch.autograd.grad(total, logits)))
    torch.testing.assert_close(*both, rtol=1e-12, atol=1e-12)


def test_given_logits_and_the_projection_that_made_them_agree() -> None:
    hidden, weight, bias, targets = problem()
    direct = language.cross_entropy(hidden, weight, targets, bias=bias, smoothing=0.1)
    over = language.cross_entropy_from_logits(hidden @ weight.mT + bias, targets, smoothing=0.1)
    gradients = [torch.autograd.grad(loss, (hidden, weight, bias)) for loss in (direct, over)]
    torch.testing.assert_close((direct, gradients[0]), (over, gradients[1]), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("backend", ["auto", "chunked"])
def test_the_backward_pass_can_run_twice(backend: str) -> None:
    hidden, weight, _, targets = problem()
    loss = language.cross_entropy(hidden, weight, targets, backend=backend)
    first, second = (torch.autograd.grad(loss, (hidden, weight), retain_graph=True) for _ in range(2))
    torch.testing.assert_close(first, second, rtol=0, atol=0)
