"""Misuse is answered by an error that names the argument, what was expected and what came."""

import pytest
import torch
from torch import Tensor

from attnloss import FieldError, language
from attnloss.language import linear

pytestmark = pytest.mark.usefixtures("unchecked_shapes")

TARGETS = torch.tensor([[1, 2, 3], [4, 5, 6]])


def refused(**changes: object) -> FieldError:
    arguments: dict[str, object] = {
        "hidden": torch.randn(2, 3, 5),
        "weight": torch.randn(7, 5),
        "targets": TARGETS,
        **changes,
    }
    with pytest.raises(FieldError) as caught:
        language.cross_entropy(**arguments)
    return caught.value


def with_nan(*size: int, at: tuple[int, ...]) -> Tensor:
    tensor = torch.randn(*size)
    tensor[at] = torch.nan
    return tensor


@pytest.mark.parametrize(
    ("changes", "field", "index", "message"),
    [
        ({"targets": TARGETS + 1}, "targets", (1, 2), r"targets\[1, 2\] must be within 0…6 .*-100; got 7"),
        ({"targets": TARGETS - 3}, "targets", (0, 0), r"targets\[0, 0\] must be within 0…6 .*; got -2"),
        ({"targets": TARGETS[0]}, "targets", (), r"shape \[2, 3\], that of hidden .* got \[3\]"),
        ({"targets": TARGETS.float()}, "targets", (), r"integers, got torch.float32"),
        ({"targets": TARGETS > 2}, "targets", (), r"integers, got torch.bool"),
        ({"hidden": torch.ones(2, 3, 5, dtype=torch.int64)}, "hidden", (), r"float64, got torch.int64"),
        ({"hidden": torch.tensor(1.0)}, "hidden", (), r"\[..., d\], d ≥ 1, got \[\]"),
        ({"hidden": torch.ones(2, 3, 0)}, "hidden", (), r"d ≥ 1, got \[2, 3, 0\]"),
        ({"weight": torch.ones(7, 4)}, "weight", (), r"shape \[V, 5\], .* got \[7, 4\]"),
        ({"weight": torch.ones(0, 5)}, "weight", (), r"V ≥ 1, .* got \[0, 5\]"),
        ({"weight": torch.ones(7)}, "weight", (), r"\[V, 5\], .* got \[7\]"),
        ({"weight": torch.ones(7, 5).double()}, "weight", (), r"dtype of hidden, torch.float32, got torch.float64"),
        ({"weight": torch.ones(7, 5, device="meta")}, "weight", (), r"device of hidden, cpu, got meta"),
        ({"bias": torch.ones(5)}, "bias", (), r"shape \[7\], weight's rows, got \[5\]"),
        ({"bias": torch.ones(7).half()}, "bias", (), r"dtype of hidden, torch.float32, got torch.float16"),
        ({"smoothing": 1.0}, "smoothing", (), r"0 ≤ smoothing < 1, got 1.0"),
        ({"smoothing": -0.1}, "smoothing", (), r"got -0.1"),
        ({"smoothing": float("nan")}, "smoothing", (), r"got nan"),
        ({"convention": "keras"}, "convention", (), r"one of torch, transformer, opennmt; got 'keras'"),
        ({"convention": "opennmt"}, "ignore_index", (), r"padding word, within 0…6; got -100"),
        ({"z_coefficient": -1.0}, "z_coefficient", (), r"finite and ≥ 0, got -1.0"),
        ({"hidden": with_nan(2, 3, 5, at=(1, 0, 2))}, "hidden", (1, 0), r"hidden\[1, 0\] gives logits"),
        ({"weight": with_nan(7, 5, at=(4, 3))}, "weight", (4, 3), r"got nan at \[4, 3\]"),
        ({"bias": with_nan(7, at=(2,))}, "bias", (2,), r"got nan at \[2\]"),
        ({"bias": torch.full((7,), torch.inf)}, "bias", (0,), r"got inf at \[0\]"),
        ({"hidden": torch.full((2, 3, 5), 3e38)}, "hidden", (0, 0), r"not finite in torch.float32"),
    ],
)
def test_the_error_names_the_argument_the_place_and_both_sides(
    changes: dict[str, object], field: str, index: tuple[int, ...], message: str
) -> None:
    error = refused(**changes)
    assert (error.field, error.index) == (field, index)
    with pytest.raises(FieldError, match=message):
        raise error


@pytest.mark.parametrize(("convention", "words", "fewest"), [("transformer", 1, 2), ("opennmt", 2, 3)])
def test_a_vocabulary_too_small_to_smooth_over_is_refused(convention: str, words: int, fewest: int) -> None:
    options = {"smoothing": 0.1, "convention": convention, "ignore_index": 0}
    with pytest.raises(FieldError, match=f"at least {fewest}, got {words}"):
        language.cross_entropy(torch.ones(1, 5), torch.ones(words, 5), torch.tensor([0]), **options)


@pytest.mark.parametrize("k", [0, 8, -1])
def test_more_best_words_than_there_are_is_refused(k: int) -> None:
    with pytest.raises(FieldError, match=rf"k must be within 1…7, the vocabulary, got {k}"):
        language.top_log_probs(torch.ones(2, 5), torch.ones(7, 5), k)
    with pytest.raises(FieldError, match=rf"top_k must be within 1…7, the vocabulary, got {k}"):
        language.token_scores(torch.ones(2, 5), torch.ones(7, 5), top_k=k)


def test_no_bytes_are_refused() -> None:
    with pytest.raises(FieldError, match="byte_count must be at least 1, got 0"):
        language.bits_per_byte(torch.ones(2, 5), torch.ones(7, 5), torch.tensor([1, 2]), 0)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_target_without_probability_is_refused_and_not_infinite(smoothing: float) -> None:
    logits = torch.zeros(2, 3, 7)
    logits[1, 1, 5] = -torch.inf
    with pytest.raises(FieldError) as caught:
        language.cross_entropy_from_logits(logits, TARGETS, smoothing=smoothing)
    assert caught.value.index == (1, 1)


def test_the_place_in_the_error_counts_the_ignored_tokens() -> None:
    hidden = with_nan(2, 3, 5, at=(1, 1, 0))
    targets = TARGETS.masked_fill(TARGETS < 4, -100)
    assert refused(hidden=hidden, targets=targets).index == (1, 1)


def test_an_unknown_reduction_or_backend_is_refused() -> None:
    arguments = (torch.ones(2, 5), torch.ones(7, 5), torch.tensor([1, 2]))
    with pytest.raises(ValueError, match="reduction must be one of none, mean, sum; got 'median'"):
        language.cross_entropy(*arguments, reduction="median")
    with pytest.raises(ValueError, match="backend must be one of auto, linear, chunked, reference; got 'cuda'"):
        language.cross_entropy(*arguments, backend="cuda")


@pytest.mark.skipif(not hasattr(torch.nn.functional, "linear_cross_entropy"), reason="came with torch 2.13")
@pytest.mark.parametrize(
    ("options", "dtype", "reason"),
    [
        ({"smoothing": 0.1}, torch.float32, "no label smoothing, got 0.1"),
        ({"z_coefficient": 0.1}, torch.float32, "no z-loss, got a coefficient of 0.1"),
        ({}, torch.bfloat16, "round the loss to torch.bfloat16, it must be torch.float32"),
    ],
)
def test_the_linear_backend_says_why_it_cannot(options: dict[str, float], dtype: torch.dtype, reason: str) -> None:
    hidden, weight = torch.ones(2, 5, dtype=dtype), torch.ones(7, 5, dtype=dtype)
    with pytest.raises(ValueError, match=f"backend linear cannot compute this: .*{reason}"):
        language.cross_entropy(hidden, weight, torch.tensor([1, 2]), backend="linear", **options)


def test_the_linear_backend_gives_no_statistics_and_takes_no_logits() -> None:
    with pytest.raises(ValueError, match="no statistics"):
        language.token_scores(torch.ones(2, 5), torch.ones(7, 5), backend="linear")
    with pytest.raises(ValueError, match="linear cannot compute this"):
        language.cross_entropy_from_logits(torch.ones(2, 5), torch.tensor([1, 2]), backend="linear")


@pytest.mark.skipif(not hasattr(torch.nn.functional, "linear_cross_entropy"), reason="came with torch 2.13")
@pytest.mark.parametrize("backend", ["linear", "chunked"])
@pytest.mark.parametrize("reduction", ["none", "mean"])
def test_a_target_masked_by_the_bias_is_named_by_every_backend(backend: str, reduction: str) -> None:
    bias = torch.zeros(7).index_fill(0, torch.tensor([5]), -torch.inf)
    error = refused(bias=bias, backend=backend, reduction=reduction)
    assert (error.field, error.index) == ("targets", (1, 1))
    assert "the loss is infinite" in str(error)


@pytest.mark.skipif(not hasattr(torch.nn.functional, "linear_cross_entropy"), reason="came with torch 2.13")
@pytest.mark.parametrize(
    ("options", "picked"),
    [
        ({}, True),
        ({"reduction": "sum"}, True),
        ({"reduction": "none"}, False),
        ({"smoothing": 0.1}, False),
        ({"z_coefficient": 0.1}, False),
        ({"backend": "chunked"}, False),
    ],
)
def test_auto_picks_linear_where_it_can_and_pays(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, object], picked: bool
) -> None:
    calls = []
    stock = linear.cross_entropy
    monkeypatch.setattr(linear, "cross_entropy", lambda *given: calls.append(given) or stock(*given))
    hidden, weight = torch.ones(2, 5, requires_grad=True), torch.ones(7, 5)
    language.cross_entropy(hidden, weight, torch.tensor([1, 2]), **options)
    assert len(calls) == picked
    language.cross_entropy(hidden.detach(), weight, torch.tensor([1, 2]), **options)
    assert len(calls) == picked


def test_a_torch_without_linear_cross_entropy_does_all_but_that_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.nn.functional, "linear_cross_entropy", raising=False)
    arguments = (torch.ones(2, 5), torch.ones(7, 5), torch.tensor([1, 2]))
    assert language.cross_entropy(*arguments).item() == pytest.approx(1.9459101)
    with pytest.raises(ValueError, match=r"came with torch 2.13, this is"):
        language.cross_entropy(*arguments, backend="linear")


@pytest.mark.skipif(not hasattr(torch.nn.functional, "linear_cross_entropy"), reason="came with torch 2.13")
def test_a_nan_is_refused_by_the_linear_backend_too() -> None:
    for reduction in ("none", "mean"):
        assert refused(hidden=with_nan(2, 3, 5, at=(0, 1, 0)), backend="linear", reduction=reduction).field == "hidden"
