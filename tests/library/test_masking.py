"""What a query may attend to, and what comes of one that may attend to nothing."""

import math

import pytest
import torch

from attnloss import attention, losses
from attnloss.scores import make_scores

EVERYTHING = ("output", "weights", "lse", "entropy", "max", "received")


def allowed(n: int, m: int, **options: object) -> torch.Tensor:
    result = attention(torch.zeros(n, 1), torch.zeros(m, 1), returns=("weights",), **options)
    return result.weights > 0


def test_causal_is_aligned_to_the_end() -> None:
    assert allowed(2, 4, causal=True).tolist() == [[True, True, True, False], [True, True, True, True]]
    assert allowed(3, 2, causal=True).tolist() == [[False, False], [True, False], [True, True]]


def test_causal_with_lengths_is_aligned_to_the_last_valid_query_and_key() -> None:
    seen = allowed(3, 4, causal=True, query_lengths=[2], key_lengths=[3])
    assert seen.tolist() == [[True, True, False, False], [True, True, True, False], [False] * 4]


def test_mask_causal_and_lengths_combine_by_and() -> None:
    mask = torch.tensor([[False, True, True], [False, True, True], [True, True, True]])
    seen = allowed(3, 3, causal=True, mask=mask, query_lengths=[3], key_lengths=[2])
    assert seen.tolist() == [[False, False, False], [False, False, False], [True, True, False]]


@pytest.mark.parametrize("backend", ["chunked", "reference"])
@pytest.mark.usefixtures("tiled")
def test_a_fully_masked_query_gives_zeros_and_an_lse_of_minus_infinity(backend: str) -> None:
    query, key, value = torch.randn(5, 3), torch.randn(7, 3), torch.randn(7, 2)
    mask = torch.ones(5, 7, dtype=torch.bool)
    mask[2] = False
    result = attention(query, key, value, mask=mask, returns=EVERYTHING, backend=backend)
    assert result.output[2].eq(0).all()
    assert result.weights[2].eq(0).all()
    assert result.lse[2] == -math.inf
    assert result.entropy[2] == result.max[2] == 0
    assert result.received.sum().item() == pytest.approx(4)


@pytest.mark.usefixtures("tiled")
def test_a_fully_masked_query_has_a_gradient_of_zero() -> None:
    query = torch.randn(5, 3, requires_grad=True)
    key = torch.randn(7, 3, requires_grad=True)
    mask = torch.ones(5, 7, dtype=torch.bool)
    mask[2] = False
    result = attention(query, key, key, mask=mask, returns=("output", "entropy", "max", "lse"))
    finite = result.lse[torch.isfinite(result.lse)]
    (result.output.sum() + 1e9 * result.entropy.sum() + result.max.sum() + finite.sum()).backward()
    assert query.grad[2].eq(0).all()
    assert torch.isfinite(query.grad).all()
    assert torch.isfinite(key.grad).all()


def test_queries_and_keys_beyond_the_lengths_count_nowhere() -> None:
    query, key, value = torch.randn(2, 5, 3), torch.randn(2, 7, 3), torch.randn(2, 7, 2)
    lengths = {"query_lengths": [5, 2], "key_lengths": [7, 3]}
    padded = attention(query, key, value, returns=EVERYTHING, **lengths)
    alone = attention(query[1, :2], key[1, :3], value[1, :3], returns=EVERYTHING)
    torch.testing.assert_close(padded.output[1, :2], alone.output)
    torch.testing.assert_close(padded.received[1, :3], alone.received)
    assert padded.received[1, 3:].eq(0).all()
    assert padded.weights[1, 2:].eq(0).all()


def test_padding_changes_no_loss() -> None:
    query, key = torch.randn(5, 3), torch.randn(7, 3)
    padded_query = torch.cat([query, torch.full((4, 3), 1e4)])
    padded_key = torch.cat([key, torch.full((6, 3), 1e4)])
    alone = losses.entropy(query, key, causal=True)
    padded = losses.entropy(padded_query, padded_key, causal=True, query_lengths=5, key_lengths=7)
    torch.testing.assert_close(padded, alone)


def test_a_length_of_zero_leaves_no_valid_query_and_a_mean_of_zero() -> None:
    query, key = torch.randn(2, 5, 3), torch.randn(2, 7, 3)
    assert losses.entropy(query, key, key_lengths=[0, 0]) == 0
    assert not make_scores(query, key, key_lengths=[0, 7]).valid[0].any()
    assert not make_scores(query, key, query_lengths=[0, 5]).valid[0].any()


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("lengths", [{}, {"query_lengths": [2, 5], "key_lengths": [7, 1]}])
def test_valid_in_closed_form_is_what_the_allowed_keys_say(causal: bool, lengths: dict[str, list[int]]) -> None:
    query, key = torch.randn(2, 5, 3), torch.randn(2, 3, 3) if not lengths else torch.randn(2, 7, 3)
    closed = make_scores(query, key, causal=causal, **lengths)
    mask = torch.ones(5, key.shape[1], dtype=torch.bool)
    counted = make_scores(query, key, causal=causal, mask=mask, **lengths)
    assert torch.equal(closed.valid.expand(2, 1, 5), counted.valid.expand(2, 1, 5))


def test_a_mask_may_have_size_one_in_batch_and_heads() -> None:
    query, key = torch.randn(2, 6, 5, 3), torch.randn(2, 3, 7, 3)
    mask = torch.rand(5, 7) > 0.3
    plain = attention(query, key, mask=mask, returns=("weights",)).weights
    for shape in [(1, 1, 5, 7), (2, 1, 5, 7), (1, 6, 5, 7), (2, 6, 5, 7)]:
        assert torch.equal(attention(query, key, mask=mask.expand(shape), returns=("weights",)).weights, plain)


@pytest.mark.usefixtures("tiled")
def test_a_window_is_cut_out_of_whole_softmaxes() -> None:
    query, key = torch.randn(2, 3, 11, 5), torch.randn(2, 3, 13, 5)
    for options in ({}, {"causal": True}):
        whole = attention(query, key, returns=("weights",), **options).weights
        for rows, columns in [((2, 7), (1, 12)), ((0, 1), (12, 13)), ((0, 11), (0, 13)), ((10, 11), (0, 1))]:
            window = attention(query, key, returns=("weights", "lse"), queries=rows, keys=columns, **options)
            torch.testing.assert_close(window.weights, whole[:, :, slice(*rows), slice(*columns)])
            assert window.lse.shape == (2, 3, 11)
