"""NeMo's aligner losses, and how papers of alignment reduce what the library leaves to the caller."""

import itertools
import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from attnloss import FieldError, losses

QUERIES, KEYS = [5, 4], [3, 2]
LENGTHS = {"query_lengths": QUERIES, "key_lengths": KEYS}
SCORES = torch.sin(torch.arange(1, 31, dtype=torch.float64)).view(2, 1, 5, 3)


def problem(scores: Tensor) -> dict[str, object]:
    eye = torch.eye(scores.shape[-1], dtype=scores.dtype).expand(*scores.shape[:-2], -1, -1)
    return {"query": scores, "key": eye.contiguous(), "scale": 1.0}


def log_weights(scores: Tensor) -> Tensor:
    seen = torch.arange(3) < torch.tensor(KEYS)[:, None, None, None]
    return scores.masked_fill(~seen, -torch.inf).log_softmax(-1)


def nemo(log_probabilities: Tensor) -> Tensor:
    """A blank of −1 before the keys, normalised together; torch's CTC in its mean, which divides by the keys."""
    with_blank = F.pad(log_probabilities[:, 0], (1, 0), value=-1.0).log_softmax(-1).transpose(0, 1)
    keys = torch.arange(1, 4).repeat(2, 1)
    return F.ctc_loss(with_blank, keys, torch.tensor(QUERIES), torch.tensor(KEYS), reduction="mean", zero_infinity=True)


def brute_force(log_p: Tensor, n: int, m: int, blank: float) -> float:
    """Every sequence of blanks and keys that collapses to all keys in order."""
    rows = F.pad(log_p[:n, :m], (1, 0), value=blank).log_softmax(-1)
    total = 0.0
    for way in itertools.product(range(m + 1), repeat=n):
        if [name for name, _ in itertools.groupby(way) if name] == list(range(1, m + 1)):
            total += math.exp(sum(float(rows[i, name]) for i, name in enumerate(way)))
    return -math.log(total)


@pytest.mark.parametrize("backend", ["auto", "chunked", "reference"])
def test_nemos_forward_sum_of_log_weights(backend: str) -> None:
    truth = nemo(log_weights(SCORES)).item()
    got = losses.forward_sum(**problem(SCORES), compat="nemo", backend=backend, **LENGTHS)
    assert got.item() == pytest.approx(truth, abs=1e-9)


def test_nemos_worked_number_is_of_raw_scores_and_of_log_weights_both_agree() -> None:
    """NeMo normalises what it is given with the blank at once, and its aligner gives log weights with a prior."""
    raw = SCORES.masked_fill(~log_weights(SCORES).isfinite(), -1e15)
    assert nemo(raw).item() == pytest.approx(0.972853, abs=1e-6)
    of_weights = nemo(log_weights(SCORES).masked_fill(~log_weights(SCORES).isfinite(), -1e15)).item()
    assert losses.forward_sum(**problem(SCORES), compat="nemo", **LENGTHS).item() == pytest.approx(of_weights)


@pytest.mark.parametrize("blank", [-1.0, -3.0, 2.0])
@pytest.mark.parametrize("backend", ["chunked", "reference"])
def test_forward_sum_is_all_ways_counted(blank: float, backend: str) -> None:
    got = losses.forward_sum(**problem(SCORES), blank=blank, reduction="none", backend=backend, **LENGTHS)
    log_p = log_weights(SCORES)
    truth = [brute_force(log_p[b, 0], n, m, blank) for b, (n, m) in enumerate(zip(QUERIES, KEYS, strict=True))]
    assert got.flatten().tolist() == pytest.approx(truth, abs=1e-9)


def test_nemo_counts_an_impossible_alignment_as_zero_with_no_gradient() -> None:
    scores = SCORES.clone().requires_grad_()
    short = {"query_lengths": [2, 4], "key_lengths": KEYS}
    with pytest.raises(FieldError, match=r"infinite.*all 3 keys of batch entry 0"):
        losses.forward_sum(**problem(scores), **short)
    for backend in ("chunked", "reference"):
        got = losses.forward_sum(**problem(scores), compat="nemo", backend=backend, **short)
        assert got.item() == pytest.approx(0.744051 / 2, abs=0.2)
        (slope,) = torch.autograd.grad(got, scores)
        assert slope.isfinite().all(), backend
        assert slope[0].eq(0).all()


def test_nemos_bin_loss_is_the_mean_over_hard_cells() -> None:
    hard = torch.tensor([[[0, 0, 1, 2, 2]], [[0, 1, 1, 1, 0]]])
    log_p = log_weights(SCORES)
    picked = [log_p[b, 0, i, hard[b, 0, i]] for b, n in enumerate(QUERIES) for i in range(n)]
    assert -sum(picked).item() / 9 == pytest.approx(0.828860, abs=1e-6)
    got = losses.bin(**problem(SCORES), target=hard, eps=1e-12, **LENGTHS)
    assert got.item() == pytest.approx(0.828860, abs=1e-6)


def test_show_attend_and_tell_sums_over_the_keys_of_an_item() -> None:
    wave = torch.sin(torch.arange(1, 25, dtype=torch.float64)).view(2, 1, 3, 4)
    values = losses.doubly_stochastic(**problem(wave), query_lengths=[3, 2], key_lengths=[4, 2], reduction="none")
    # the two padded keys of the second item, 1 each there, count nothing here
    assert values.flatten().tolist() == pytest.approx([0.295470, 2.073172 - 2], abs=1e-6)


def test_see_coverage_of_each_item_is_the_worked_number() -> None:
    wave = torch.sin(torch.arange(1, 25, dtype=torch.float64)).view(2, 1, 3, 4)
    values = losses.coverage(**problem(wave), query_lengths=[3, 2], key_lengths=[4, 2], reduction="none")
    assert values.sum((1, 2)).tolist() == pytest.approx([1.381747, 0.913545], abs=1e-6)


def test_lins_penalty_over_two_hops_is_the_worked_number() -> None:
    a = torch.sin(torch.arange(1, 25, dtype=torch.float64)).view(2, 3, 4)
    a = a.masked_fill(torch.arange(4) >= torch.tensor([4, 2])[:, None, None], -torch.inf).softmax(-1)
    hops = a[:, :2, None]  # hops over one sentence are heads of one query
    values = losses.orthogonality.from_weights(hops, reduction="none")
    assert values.tolist() == pytest.approx([0.942979, 0.986992], abs=1e-6)


@pytest.mark.parametrize(
    ("alpha", "worked"), [(2.0, [0.0625, 2.0]), (1.5, [0.225196, 2.002029]), (1.25, [0.412207, 2.065214])]
)
def test_entmax_losses_are_those_of_the_entmax_package(alpha: float, worked: list[float]) -> None:
    scores = torch.tensor([[1.0, 0.5, -1.0, 0.2], [0.3, 0.0, 2.0, -0.7]]).double()
    values = losses.entmax(**problem(scores), target=torch.tensor([0, 1]), alpha=alpha, reduction="none")
    assert values.tolist() == pytest.approx(worked, abs=1e-6)
    if alpha == 2:
        same = losses.sparsemax(**problem(scores), target=torch.tensor([0, 1]), reduction="none")
        assert same.tolist() == pytest.approx(worked, abs=1e-6)
