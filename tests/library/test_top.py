"""The largest weights of each query."""

import pytest
import torch

from attnloss import attention

pytestmark = pytest.mark.usefixtures("tiled")


def test_top_is_descending_with_the_weights_as_returned() -> None:
    query, key = torch.randn(2, 3, 7, 5), torch.randn(2, 3, 11, 5)
    result = attention(query, key, returns=("weights", "top"), top_k=4)
    assert (result.top.weight.diff(dim=-1) <= 0).all()
    assert torch.equal(result.weights.gather(-1, result.top.index), result.top.weight)
    assert torch.equal(result.top.weight, result.weights.sort(-1, descending=True).values[..., :4])


def test_scores_that_round_to_one_weight_are_a_tie() -> None:
    key = torch.randperm(37)[:, None] * 6e-8
    result = attention(torch.ones(1, 1), key, returns=("weights", "top"), top_k=37, scale=1.0)
    assert len(result.weights.unique()) < 37
    expected = result.weights.sort(dim=-1, descending=True, stable=True).indices
    assert torch.equal(result.top.index, expected)


@pytest.mark.parametrize("top_k", [1, 2, 5, 11])
def test_ties_go_to_the_lower_index(top_k: int) -> None:
    key = torch.tensor([0.0, 1, 0, 1, 1, 0, 0, 1, 0, 1, 1])[:, None]
    result = attention(torch.ones(7, 1), key, returns=("top",), top_k=top_k)
    order = [1, 3, 4, 7, 9, 10, 0, 2, 5, 6, 8]
    assert result.top.index.tolist() == [order[:top_k]] * 7


def test_random_ties_are_ordered_as_by_a_stable_sort() -> None:
    query, key = torch.randint(-1, 2, (2, 13, 2)).float(), torch.randint(-1, 2, (2, 17, 2)).float()
    for top_k in range(1, 18):
        result = attention(query, key, returns=("weights", "top"), top_k=top_k)
        expected = result.weights.sort(dim=-1, descending=True, stable=True).indices[..., :top_k]
        assert torch.equal(result.top.index, expected)


def test_where_fewer_keys_are_allowed_the_index_is_minus_one_and_the_weight_zero() -> None:
    result = attention(torch.zeros(3, 1), torch.zeros(3, 1), causal=True, returns=("top",), top_k=3)
    assert result.top.index.tolist() == [[0, -1, -1], [0, 1, -1], [0, 1, 2]]
    assert result.top.weight[0].tolist() == [1, 0, 0]


def test_an_allowed_key_whose_weight_underflows_to_zero_is_still_named() -> None:
    key = torch.tensor([0.0, 1e4, -1e4, 5.0])[:, None]
    mask = torch.tensor([[True, True, True, False]])
    result = attention(torch.ones(1, 1), key, mask=mask, returns=("top",), top_k=4)
    assert result.top.index.tolist() == [[1, 0, 2, -1]]
    assert result.top.weight.tolist() == [[1, 0, 0, 0]]


def test_top_beside_weights_leaves_their_gradient_whole() -> None:
    query, key = torch.randn(5, 3, requires_grad=True), torch.randn(7, 3)
    both = attention(query, key, returns=("top", "weights"), top_k=2).weights.square().sum()
    alone = attention(query, key, returns=("weights",)).weights.square().sum()
    torch.testing.assert_close(*(torch.autograd.grad(total, query)[0] for total in (both, alone)))
