"""Modes that follow other codebases: the worked numbers, and their definitions written out in torch.

Numbers come from running those codebases' functions on `soft_map`; the formulas here are the project's own.
"""

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from attnloss import losses

QUERIES, KEYS = [3, 2], [4, 2]


def wave(*shape: int, k: float = 1.0) -> Tensor:
    return torch.sin(k * torch.arange(1, math.prod(shape) + 1, dtype=torch.float64)).view(shape)


def soft_map(shape: tuple[int, ...], queries: Sequence[int], keys: Sequence[int], k: float = 1.0) -> Tensor:
    """Softmax of a sine over the valid keys; 0 at padded queries."""
    seen = torch.arange(shape[3]) < torch.tensor(keys)[:, None, None, None]
    valid = torch.arange(shape[2])[:, None] < torch.tensor(queries)[:, None, None, None]
    return wave(*shape, k=k).masked_fill(~seen, -torch.inf).softmax(-1) * valid


def as_problem(scores: Tensor) -> dict[str, object]:
    """Query and key whose product is these scores."""
    eye = torch.eye(scores.shape[-1], dtype=scores.dtype).expand(*scores.shape[:-2], -1, -1)
    return {"query": scores, "key": eye.contiguous(), "scale": 1.0}


LENGTHS = {"query_lengths": QUERIES, "key_lengths": KEYS}


def band(n: int, m: int, sigma: float) -> Tensor:
    i, j = torch.arange(n)[:, None], torch.arange(m)
    return 1 - torch.exp(-((j / m - i / n) ** 2) / (2 * sigma**2))


@pytest.mark.parametrize(("heads", "worked"), [(1, 0.095474), (2, 0.109942)])
def test_espnet_averages_over_all_valid_cells_of_the_batch(heads: int, worked: float) -> None:
    a = soft_map((2, heads, 3, 4), QUERIES, KEYS)
    cells = [a[b, :, :n, :m] * band(n, m, 0.4) for b, (n, m) in enumerate(zip(QUERIES, KEYS, strict=True))]
    truth = sum(part.sum() for part in cells) / sum(part.numel() for part in cells)
    problem = as_problem(wave(2, heads, 3, 4))
    for got in (
        losses.guided.from_weights(a, compat="espnet", **LENGTHS),
        losses.guided(**problem, compat="espnet", **LENGTHS),
        losses.guided(**problem, compat="espnet", reduction="sum", backend="chunked", **LENGTHS),
    ):
        assert got.item() == pytest.approx(truth.item(), abs=1e-6)
        assert got.item() == pytest.approx(worked, abs=1e-6)


@pytest.mark.parametrize(("sigma", "worked"), [(None, 0.115845), (0.4, 0.063649)])
def test_speechbrain_averages_over_the_padded_box(sigma: float | None, worked: float) -> None:
    problem = as_problem(wave(2, 1, 3, 4))
    got = losses.guided(**problem, compat="speechbrain", sigma=sigma, **LENGTHS)
    assert got.item() == pytest.approx(worked, abs=1e-6)
    wider = {
        "query": F.pad(problem["query"], (0, 2, 0, 2)),
        "key": torch.eye(6).double()[None, None].repeat(2, 1, 1, 1),
    }
    padded = losses.guided(**wider, scale=1.0, compat="speechbrain", sigma=sigma, **LENGTHS)
    assert padded.item() == pytest.approx(worked * 24 / 60, abs=1e-6)


def test_speechbrains_own_example() -> None:
    a = torch.zeros(2, 4, 3)
    a[0, :3, :2] = torch.tensor([[0.8, 0.2], [0.4, 0.6], [0.2, 0.8]])
    a[1] = torch.tensor([[0.6, 0.2, 0.2], [0.1, 0.7, 0.2], [0.3, 0.4, 0.3], [0.2, 0.3, 0.5]])
    got = losses.guided.from_weights(a, compat="speechbrain", query_lengths=[3, 4], key_lengths=[2, 3])
    assert got.item() == pytest.approx(0.114152, abs=1e-6)


ALIGNED = torch.tensor([[[0, -1], [1, 2], [-1, -1]], [[0, 1], [-1, -1], [-1, -1]]])
"""Keys of each query: 0-0, 1-1 and 2-1 in one sentence, 0-0 and 1-0 in the other, by source-target."""

SHARES = torch.tensor([[[1.0, 0.0], [0.5, 0.5], [0.0, 0.0]], [[0.5, 0.5], [0.0, 0.0], [0.0, 0.0]]]).double()


@pytest.mark.parametrize("compat", ["fairseq", "opennmt"])
def test_alignment_is_the_sum_over_aligned_queries_in_nats(compat: str) -> None:
    a = soft_map((2, 1, 3, 4), QUERIES, KEYS)[:, 0]
    picked = a.gather(-1, ALIGNED.clamp(min=0)).clamp(min=1e-18)
    truth = -(SHARES * picked.log()).sum()
    assert truth.item() == pytest.approx(3.313516, abs=1e-6)
    aligned = (ALIGNED >= 0).any(-1, keepdim=True).expand(-1, -1, 4)
    target = {"target": ALIGNED, "target_weights": SHARES, "compat": compat}
    scores = as_problem(wave(2, 1, 3, 4)[:, 0])
    for backend in ("auto", "chunked", "reference"):
        got = losses.cross_entropy(**scores, **target, mask=aligned, backend=backend, **LENGTHS)
        assert got.item() == pytest.approx(3.313516, abs=1e-6)
    given = losses.cross_entropy.from_weights(a * aligned, **target, mask=aligned, **LENGTHS)
    assert given.item() == pytest.approx(3.313516, abs=1e-6)


@pytest.mark.parametrize("compat", ["fairseq", "opennmt"])
def test_queries_that_are_not_aligned_count_nothing_without_a_mask_too(compat: str) -> None:
    """Both codebases sum over the links there are: a target word without one adds 0."""
    scores = as_problem(wave(2, 1, 3, 4)[:, 0])
    got = losses.cross_entropy(**scores, target=ALIGNED, target_weights=SHARES, compat=compat, **LENGTHS)
    assert got.item() == pytest.approx(3.313516, abs=1e-6)


def test_only_opennmt_clamps_a_weight_of_almost_nothing() -> None:
    query, key = torch.tensor([[1.0]]).double(), torch.tensor([[0.0], [-90.0]]).double()
    target = torch.tensor([1])
    for backend in ("auto", "chunked", "reference"):
        options = {"target": target, "scale": 1.0, "backend": backend}
        assert losses.cross_entropy(query, key, compat="fairseq", **options).item() == pytest.approx(90)
        clamped = losses.cross_entropy(query, key, compat="opennmt", **options)
        assert clamped.item() == pytest.approx(-math.log(1e-18))
    single = losses.cross_entropy(query.float(), key.float(), target=target, scale=1.0, compat="opennmt")
    assert single.item() == pytest.approx(-math.log(1e-18), abs=1e-4)


def test_tinybert_compares_scores_with_masked_ones_as_zero_over_all_cells() -> None:
    seen = torch.arange(3) < torch.tensor([3, 2])[:, None, None, None]
    student, teacher = wave(2, 2, 3, 3), wave(2, 2, 3, 3, k=1.3)
    truth = F.mse_loss(student.where(seen, 0.0), teacher.where(seen, 0.0))
    assert truth.item() == pytest.approx(0.794104, abs=1e-6)
    second = {"other_query": teacher, "other_key": as_problem(teacher)["key"], "other_scale": 1.0}
    for backend in ("auto", "chunked", "reference"):
        got = losses.score_mse(**as_problem(student), **second, key_lengths=[3, 2], compat="tinybert", backend=backend)
        assert got.item() == pytest.approx(0.794104, abs=1e-6)
    low = student.clone()
    low[0, 0, 0, 0] = -100.0
    got = losses.score_mse(**as_problem(low), **second, key_lengths=[3, 2], compat="tinybert")
    changed = truth * 36 - (student - teacher)[0, 0, 0, 0] ** 2 + teacher[0, 0, 0, 0] ** 2
    assert got.item() == pytest.approx(changed.item() / 36, abs=1e-9)


def test_minilm_is_the_teachers_divergence_averaged_by_sequence() -> None:
    lengths = [3, 2]
    student, teacher = wave(2, 2, 3, 3), wave(2, 2, 3, 3, k=1.2)
    items = []
    for b, n in enumerate(lengths):
        log_s, log_t = (scores[b, :, :n, :n].log_softmax(-1) for scores in (student, teacher))
        items.append((log_t.exp() * (log_t - log_s)).sum() / (2 * n))
    assert sum(items).item() / 2 == pytest.approx(0.097382, abs=1e-6)
    second = {"other_query": teacher, "other_key": as_problem(teacher)["key"], "other_scale": 1.0}
    options = {"query_lengths": lengths, "key_lengths": lengths, "compat": "minilm"}
    for backend in ("auto", "chunked", "reference"):
        assert losses.kl(**as_problem(student), **second, **options, backend=backend).item() == pytest.approx(
            0.097382, abs=1e-6
        )


def test_minilms_value_relations_are_the_same_with_values() -> None:
    student, teacher = wave(2, 2, 3, 2), wave(2, 2, 3, 2, k=1.2)
    options = {"query_lengths": [3, 2], "key_lengths": [3, 2], "compat": "minilm"}
    assert losses.kl(student, student, teacher, teacher, **options).item() == pytest.approx(0.096152, abs=1e-6)


@pytest.mark.parametrize("k", [1.0, 1.1])
def test_ear_is_the_negative_entropy_of_a_second_softmax_of_the_mean_map(k: float) -> None:
    lengths = [3, 2]
    a = soft_map((2, 2, 3, 3), lengths, lengths, k)
    items = []
    for b, n in enumerate(lengths):
        again = a[b].mean(0)[:n, :n].log_softmax(-1)
        items.append((again.exp() * again).sum(-1).mean())
    truth = sum(items).item() / 2
    options = {"query_lengths": lengths, "key_lengths": lengths, "compat": "ear"}
    for backend in ("auto", "chunked", "reference"):
        got = losses.entropy(**as_problem(wave(2, 2, 3, 3, k=k)), **options, backend=backend)
        assert got.item() == pytest.approx(truth, abs=1e-9)
    assert losses.entropy.from_weights(a, **options).item() == pytest.approx(truth, abs=1e-9)


def test_ear_of_two_layers_is_the_worked_number() -> None:
    options = {"query_lengths": [3, 2], "key_lengths": [3, 2], "compat": "ear"}
    layers = [losses.entropy(**as_problem(wave(2, 2, 3, 3, k=k)), **options).item() for k in (1.0, 1.1)]
    assert sum(layers) == pytest.approx(-1.790595, abs=1e-6)
