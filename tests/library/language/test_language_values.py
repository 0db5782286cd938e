"""Numbers worked out by hand, limits known in closed form, and torch's own cross-entropy."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from attnloss import language

pytestmark = pytest.mark.usefixtures("tiled")

TOKENS, WIDTH, WORDS = 7, 5, 11

# Weights 1, 2, 4, 1 for four words: p = 1/8, 1/4, 1/2, 1/8, so −log p = 3, 2, 1, 3 times log 2.
LOGITS = torch.tensor([[0.0, math.log(2), math.log(4), 0.0]], dtype=torch.float64)
BY_HAND = {
    # −log p of word 2 is 1; (1 − 0.1)·1 + 0.1·(3 + 2 + 1 + 3)/4
    "torch": 0.9 * 1 + 0.1 * 9 / 4,
    # ... + 0.1·(3 + 2 + 3)/3
    "transformer": 0.9 * 1 + 0.1 * 8 / 3,
    # ... + 0.1·(3 + 2)/2, word 3 being the padding, less the entropy of (0.9, 0.05, 0.05)
    "opennmt": 0.9 * 1 + 0.1 * 5 / 2 + (0.9 * math.log(0.9) + 0.1 * math.log(0.05)) / math.log(2),
}


@pytest.mark.parametrize("convention", BY_HAND)
@pytest.mark.parametrize("backend", ["chunked", "reference"])
def test_smoothing_gives_the_numbers_worked_out_by_hand(convention: str, backend: str) -> None:
    target = torch.tensor([2])
    options = {"smoothing": 0.1, "convention": convention, "ignore_index": 3, "backend": backend}
    loss = language.cross_entropy_from_logits(LOGITS, target, **options)
    assert float(loss) == pytest.approx(BY_HAND[convention] * math.log(2), abs=1e-14)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
def test_the_torch_convention_is_that_of_torch(reduction: str, smoothing: float) -> None:
    hidden, weight = (torch.randn(size, WIDTH, dtype=torch.float64) for size in (TOKENS, WORDS))
    targets = torch.randint(WORDS, (TOKENS,))
    targets[4] = -100
    ours = language.cross_entropy(hidden, weight, targets, smoothing=smoothing, reduction=reduction)
    theirs = F.cross_entropy(hidden @ weight.mT, targets, label_smoothing=smoothing, reduction=reduction)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


def opennmt(logits: Tensor, targets: Tensor, smoothing: float, padding: int) -> Tensor:
    """The divergence as kl_div has it, from the definition: nothing on the padding, ε/(V − 2) on the rest."""
    q = torch.full_like(logits, smoothing / (logits.shape[-1] - 2))
    q[:, padding] = 0
    q[torch.arange(len(targets)), targets] = 1 - smoothing
    q[targets == padding] = 0
    return F.kl_div(logits.log_softmax(-1), q, reduction="sum")


def test_the_opennmt_convention_is_the_divergence_that_kl_div_gives() -> None:
    logits = torch.randn(TOKENS, WORDS, dtype=torch.float64)
    targets = torch.tensor([4, 1, 0, 10, 1, 2, 7])
    options = {"smoothing": 0.1, "convention": "opennmt", "ignore_index": 1, "reduction": "sum"}
    ours = language.cross_entropy_from_logits(logits, targets, **options)
    torch.testing.assert_close(ours, opennmt(logits, targets, 0.1, 1), rtol=0, atol=1e-12)


def test_a_model_that_predicts_the_smoothed_target_has_no_divergence_left() -> None:
    q = torch.full((1, WORDS), 0.1 / (WORDS - 2), dtype=torch.float64)
    q[0, 4], q[0, 0] = 0.9, 1e-300
    options = {"smoothing": 0.1, "convention": "opennmt", "ignore_index": 0}
    loss = language.cross_entropy_from_logits(q.log(), torch.tensor([4]), **options)
    assert float(loss) == pytest.approx(0, abs=1e-14)


@pytest.mark.parametrize("words", [1, 2, 1009])
def test_uniform_logits_cost_log_v_and_have_the_entropy_log_v(words: int) -> None:
    hidden, weight = torch.randn(3, WIDTH, dtype=torch.float64), torch.zeros(words, WIDTH, dtype=torch.float64)
    targets = torch.zeros(3, dtype=torch.int64)
    expected = torch.full((3,), math.log(words), dtype=torch.float64)
    for value in (
        language.surprisal(hidden, weight, targets),
        language.entropy(hidden, weight),
        -language.top_log_probs(hidden, weight, 1).values[:, 0],
        language.cross_entropy(hidden, weight, targets, smoothing=0.4, reduction="none"),
        language.z_loss(hidden, weight, coefficient=1.0, reduction="none").sqrt(),
    ):
        torch.testing.assert_close(value, expected, rtol=0, atol=1e-12)
    assert float(language.perplexity(hidden, weight, targets)) == pytest.approx(words)
    bits = language.bits_per_byte(hidden, weight, targets, 6)
    assert float(bits) == pytest.approx(3 * math.log2(words) / 6, abs=1e-12)


def test_the_best_words_descend_and_ties_go_to_the_lower_index() -> None:
    logits = torch.tensor([[1.0, 3.0, 0.0, 3.0, 1.0, 3.0, 1.0, 2.0, 3.0, 1.0, 3.0], [0.0] * WORDS])
    top = language.token_scores_from_logits(logits, top_k=8).top
    assert top is not None
    assert top.indices.tolist() == [[1, 3, 5, 8, 10, 7, 0, 4], [0, 1, 2, 3, 4, 5, 6, 7]]
    torch.testing.assert_close(top.values, logits.log_softmax(-1).gather(1, top.indices))


def test_every_word_can_be_among_the_best() -> None:
    hidden, weight = torch.randn(TOKENS, WIDTH), torch.randn(WORDS, WIDTH)
    top = language.top_log_probs(hidden, weight, WORDS)
    assert top.indices.sort(-1).values.tolist() == [list(range(WORDS))] * TOKENS
    torch.testing.assert_close(top.values.exp().sum(-1), torch.ones(TOKENS))


def test_a_word_masked_by_its_bias_has_no_probability() -> None:
    hidden, weight = torch.randn(TOKENS, WIDTH), torch.randn(WORDS, WIDTH)
    bias = torch.zeros(WORDS).index_fill(0, torch.tensor([0, 1, 2, 3, 4, 9]), -torch.inf)
    hidden.requires_grad_()
    result = language.token_scores(hidden, weight, torch.full((TOKENS,), 7), bias=bias, entropy=True, top_k=7)
    kept = [5, 6, 7, 8, 10]
    alone = language.token_scores(hidden, weight[kept], torch.full((TOKENS,), 2), entropy=True, top_k=5)
    for name in ("lse", "log_prob", "entropy"):
        torch.testing.assert_close(getattr(result, name), getattr(alone, name))
    assert result.top is not None
    assert result.top.indices[:, 5:].tolist() == [[0, 1]] * TOKENS
    gradients = [torch.autograd.grad((x.entropy + x.log_prob).sum(), hidden)[0] for x in (result, alone)]
    torch.testing.assert_close(*gradients)


def test_where_no_token_is_scored_the_mean_is_0_and_so_are_the_gradients() -> None:
    hidden, weight = torch.randn(TOKENS, WIDTH, requires_grad=True), torch.randn(WORDS, WIDTH, requires_grad=True)
    targets = torch.full((TOKENS,), -100)
    for options in ({}, {"smoothing": 0.1}, {"backend": "reference"}, {"z_coefficient": 1.0}):
        loss = language.cross_entropy(hidden, weight, targets, **options)
        assert loss.item() == 0
        assert not any(grad.any() for grad in torch.autograd.grad(loss, (hidden, weight)))
    assert language.perplexity(hidden, weight, targets).item() == 1


def test_an_ignored_token_may_hold_anything_and_changes_nothing() -> None:
    hidden, weight = torch.randn(TOKENS, WIDTH), torch.randn(WORDS, WIDTH, requires_grad=True)
    targets = torch.randint(WORDS, (TOKENS,))
    targets[2] = -100
    kept = torch.arange(TOKENS) != 2
    poisoned = hidden.clone().index_fill(0, torch.tensor([2]), torch.nan).requires_grad_()
    loss = language.cross_entropy(poisoned, weight, targets)
    torch.testing.assert_close(loss, language.cross_entropy(hidden[kept], weight, targets[kept]))
    flows = torch.autograd.grad(loss, (poisoned, weight))
    assert not flows[0][2].any()
    assert all(flow.isfinite().all() for flow in flows)
    result = language.token_scores(poisoned, weight, targets, entropy=True, top_k=2)
    assert result.scored.tolist() == kept.tolist()
    assert result.lse[2].item() == result.entropy[2].item() == result.log_prob[2].item() == 0
    assert result.top.indices[2].tolist() == [-1, -1]


def test_the_scores_are_what_the_single_functions_give() -> None:
    hidden, weight = torch.randn(2, TOKENS, WIDTH), torch.randn(WORDS, WIDTH)
    targets = torch.randint(WORDS, (2, TOKENS))
    result = language.token_scores(hidden, weight, targets, entropy=True, top_k=3)
    top = language.top_log_probs(hidden, weight, 3)
    torch.testing.assert_close(result.log_prob, language.token_log_probs(hidden, weight, targets))
    torch.testing.assert_close(result.entropy, language.entropy(hidden, weight))
    torch.testing.assert_close((result.top.values, result.top.indices), (top.values, top.indices))
