"""What holds whatever the ranks, sizes, tiles, ignored tokens and magnitudes."""

from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from attnloss import language
from attnloss.language import linear, tiling

CONVENTIONS = {"torch": 1, "transformer": 2, "opennmt": 3}


@st.composite
def problems(draw: st.DrawFn) -> dict[str, object]:
    """A request of any rank; some targets are ignored, and tiles are of any size."""
    shape = draw(st.lists(st.integers(0, 4), max_size=3).map(tuple))
    width, words = draw(st.integers(1, 5)), draw(st.integers(1, 17))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**16)))
    magnitude = draw(st.sampled_from([0.0, 1e-3, 1.0, 1e4]))

    def leaf(*size: int) -> Tensor:
        return torch.randn(size, generator=generator, dtype=torch.float64)

    ignored = draw(st.integers(0, words - 1) | st.just(-100))
    return {
        "hidden": (magnitude * leaf(*shape, width)).requires_grad_(),
        "weight": leaf(words, width).requires_grad_(),
        "bias": leaf(words).requires_grad_() if draw(st.booleans()) else None,
        "targets": torch.randint(words, shape, generator=generator).masked_fill(leaf(*shape) > 0.5, ignored),
        "ignore_index": ignored,
        "convention": draw(st.sampled_from([name for name, least in CONVENTIONS.items() if words >= least])),
        "smoothing": draw(st.sampled_from([0.0, 0.1])),
        "top_k": draw(st.integers(1, words)),
        "tile": draw(st.tuples(st.integers(1, 40), st.integers(1, 7), st.integers(1, 11))),
    }


def evaluated(problem: dict[str, object], backend: str) -> tuple[list[Tensor], list[Tensor]]:
    """Everything of one request, and the gradients of it all."""
    tokens = {"hidden": problem["hidden"], "weight": problem["weight"], "targets": problem["targets"]}
    options = {"bias": problem["bias"], "ignore_index": problem["ignore_index"], "backend": backend}
    convention = problem["convention"]
    if convention == "opennmt" and problem["ignore_index"] == -100:
        convention = "transformer"
    smoothing = {"smoothing": problem["smoothing"], "convention": convention}
    losses = [
        language.cross_entropy(**tokens, **smoothing, **options, reduction=how) for how in ("none", "mean", "sum")
    ]
    scores = language.token_scores(**tokens, **options, entropy=True, top_k=problem["top_k"])
    values = [*losses, scores.lse, scores.log_prob, scores.entropy, scores.top.values]
    leaves = [leaf for leaf in (problem["hidden"], problem["weight"], problem["bias"]) if leaf is not None]
    total = sum((value.sum() for value in values), torch.zeros((), dtype=torch.float64))
    return [*values, scores.top.indices], list(torch.autograd.grad(total, leaves))


@settings(max_examples=150, deadline=None)
@given(problem=problems())
def test_any_request_in_any_tiles_agrees_with_the_twin(problem: dict[str, object]) -> None:
    most_logits, most_tokens, most_columns = problem["tile"]
    with (
        patch.object(tiling, "TILE_LOGITS", most_logits),
        patch.object(tiling, "MOST_TOKENS", most_tokens),
        patch.object(tiling, "MOST_COLUMNS", most_columns),
    ):
        fast = evaluated(problem, "chunked")
    twin = evaluated(problem, "reference")
    *values, indices = fast[0]
    torch.testing.assert_close(values, twin[0][:-1], rtol=1e-11, atol=1e-9)
    torch.testing.assert_close(fast[1], twin[1], rtol=1e-9, atol=1e-7)
    if problem["hidden"].any() and problem["hidden"].shape[-1] > 1:
        torch.testing.assert_close(indices, twin[0][-1])


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**16), words=st.integers(1, 40), tile=st.integers(1, 200))
def test_extreme_logits_in_float32_give_finite_values_and_gradients(seed: int, words: int, tile: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = 1e4 * (2 * torch.randint(2, (5, words), generator=generator) - 1).float()
    logits += torch.rand(5, words, generator=generator)
    logits.requires_grad_()
    targets = torch.randint(words, (5,), generator=generator)
    with patch.object(tiling, "TILE_LOGITS", tile):
        results = []
        for backend in ("chunked", "reference"):
            scores = language.token_scores_from_logits(logits, targets, entropy=True, top_k=words, backend=backend)
            values = (scores.lse, scores.log_prob, scores.entropy, scores.top.values)
            flow = torch.autograd.grad(sum(value.sum() for value in values), logits)
            results.append((*values, *flow))
    assert all(part.isfinite().all() for part in results[0])
    torch.testing.assert_close(*results, rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("backend", ["auto", "chunked"])
@pytest.mark.parametrize("tile", [(1, 1, 1), (12, 3, 8192), (35, 5, 7), (1 << 20, 1024, 8192)])
def test_the_size_of_the_tiles_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, tile: tuple[int, int, int], backend: str
) -> None:
    hidden, weight = (torch.randn(size, 3, dtype=torch.float64, requires_grad=True) for size in (11, 29))
    targets = torch.randint(29, (11,))

    def run() -> list[Tensor]:
        loss = language.cross_entropy(hidden, weight, targets, backend=backend)
        loss = loss + language.cross_entropy(hidden, weight, targets, smoothing=0.1, z_coefficient=0.1)
        return [loss, language.entropy(hidden, weight), *torch.autograd.grad(loss, (hidden, weight))]

    whole = run()
    for name, size in zip(("TILE_LOGITS", "MOST_TOKENS", "MOST_COLUMNS"), tile, strict=True):
        monkeypatch.setattr(tiling, name, size)
    monkeypatch.setattr(linear, "FUSED_LOGITS", 29 * tile[1])
    monkeypatch.setattr(linear, "FEWEST_ROWS", 1)
    torch.testing.assert_close(run(), whole, rtol=1e-12, atol=1e-13)


def test_one_word_has_probability_1_exactly_however_large_its_logit() -> None:
    hidden = torch.tensor([[1e4], [-1e4], [1e30], [0.0]], requires_grad=True)
    loss = language.surprisal(hidden, torch.tensor([[3.0]]), torch.zeros(4, dtype=torch.int64))
    assert loss.tolist() == [0.0] * 4
    assert torch.autograd.grad(loss.sum(), hidden)[0].tolist() == [[0.0]] * 4
