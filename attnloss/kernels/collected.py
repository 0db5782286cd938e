"""What keys receive, Σ_i w_i·p_ij, without the map being held."""

from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from attnloss.kernels import library
from attnloss.kernels.flows import Flows
from attnloss.scores import Scores


def received(scores: Scores, lse: Tensor, row_weights: Tensor | None) -> Tensor:
    """Compute it from the lse of the scores."""
    return cast("Tensor", _Collected.apply(scores, scores.query, scores.key, lse.detach(), row_weights))  # type: ignore[no-untyped-call]  # torch leaves it untyped


class _Collected(torch.autograd.Function):
    """The lse is that of the scores: gradients flow through the scores themselves, not through it."""

    @staticmethod
    def forward(
        ctx: Any, scores: Scores, query: Tensor, key: Tensor, lse: Tensor, row_weights: Tensor | None
    ) -> Tensor:
        native = library.load()
        query, key, lse = library.rows(query), library.rows(key), lse.contiguous()
        row_weights = None if row_weights is None else row_weights.contiguous()
        batch, heads, _, m = scores.shape
        result = query.new_empty(batch, heads, m)
        problem = native.problem(scores, -(-m // library.KEYS_PER_TILE))
        native.call(
            "received", query.dtype, problem, library.score_map(scores.scale, query, key, lse), row_weights, result
        )
        ctx.scores = scores
        ctx.save_for_backward(query, key, lse, row_weights)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        native, scores = library.load(), ctx.scores
        query, key, lse, row_weights = ctx.saved_tensors
        grad, means = grad.contiguous(), torch.empty_like(lse)
        seen = library.score_map(scores.scale, query, key, lse)
        native.call("row_means", query.dtype, native.problem(scores), seen, grad, means)
        grads: tuple[Tensor | None, Tensor | None] = None, None
        if ctx.needs_input_grad[1] or ctx.needs_input_grad[2]:
            flows = Flows(scores, scores.scale, (query, key, lse), ctx.needs_input_grad[1:3])
            native.call("received_backward", query.dtype, flows.problem, flows.map, row_weights, grad, means)
            grads = flows.grads()
        return None, *grads, None, means if ctx.needs_input_grad[4] else None
