"""What keys receive, against the dense twin."""

from typing import Any

import torch
from torch import Tensor

from attnloss import reference
from attnloss.kernels import native
from attnloss.scores import Scores, make_scores


def mine(scores: Scores, row_weights: Tensor | None) -> Tensor:
    return native.received(scores, native.attend(scores, None)[1], row_weights)


def test_every_option_agrees_with_the_twin(case: Any) -> None:
    scores, row_weights = case.scores(), case.per_query()
    leaves = [scores.query, scores.key]
    case.assert_same(mine(scores, None), reference.dense(scores).weights.sum(-2), leaves)
    truth = (row_weights[..., None] * reference.dense(scores).weights).sum(-2)
    case.assert_same(mine(scores, row_weights), truth, [*leaves, row_weights])


def test_gradcheck(isa: str) -> None:
    query, key = (torch.randn(1, 2, n, 3, dtype=torch.float64, requires_grad=True) for n in (5, 7))
    row_weights = torch.randn(1, 2, 5, dtype=torch.float64, requires_grad=True)

    def compute(query: Tensor, key: Tensor, row_weights: Tensor) -> Tensor:
        return mine(make_scores(query, key, causal=True), row_weights)

    assert torch.autograd.gradcheck(compute, (query, key, row_weights))


def test_row_weights_alone_may_want_a_gradient(isa: str) -> None:
    scores = make_scores(torch.randn(5, 3), torch.randn(7, 3))
    row_weights = torch.zeros(1, 1, 5, requires_grad=True)
    mine(scores, row_weights)[..., 3].sum().backward()
    torch.testing.assert_close(row_weights.grad, reference.dense(scores).weights[..., 3].float())
