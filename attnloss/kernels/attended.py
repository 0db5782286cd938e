"""Attention, lse, entropy and largest weight in one pass over the score map, and their gradient in another."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from attnloss.kernels import library
from attnloss.kernels.flows import Flows, needs_gradient
from attnloss.scores import Scores

Results = tuple[Tensor | None, Tensor, Tensor, Tensor]


def forward(
    scores: Scores,
    query: Tensor,
    key: Tensor,
    features: Tensor | None,
    *,
    scale: float | None = None,
    ties: tuple[Tensor, Tensor] | None = None,
) -> Results:
    """Compute expectation, lse, entropy and largest weight of query and key, readable by `rows`.

    Fills `ties`, if given, with the largest score of each query and how many keys have it.
    """
    native = library.load()
    per_query = scores.shape[:3]
    expectation = None if features is None else query.new_empty(*per_query, features.shape[-1])
    lse, entropy, largest = (query.new_empty(per_query) for _ in range(3))
    native.call(
        "attend",
        query.dtype,
        native.problem(scores),
        library.score_map(scores.scale if scale is None else scale, query, key),
        None if features is None else library.feature_map(features),
        *(expectation, lse, entropy, largest),
        *((None, None) if ties is None else ties),
    )
    return expectation, lse, entropy, largest


def attend(scores: Scores, features: Tensor | None) -> Results:
    """Compute the same as `forward`, recorded where a gradient is wanted."""
    if needs_gradient(scores.query, scores.key, features):
        results: Results = _Attended.apply(scores, scores.query, scores.key, features)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return results
    return forward(
        scores,
        library.rows(scores.query),
        library.rows(scores.key),
        None if features is None else library.rows(features),
    )


class _Attended(torch.autograd.Function):
    """It saves per-query results and nothing of the map."""

    @staticmethod
    def forward(ctx: Any, scores: Scores, query: Tensor, key: Tensor, features: Tensor | None) -> Results:
        query, key = library.rows(query), library.rows(key)
        features = None if features is None else library.rows(features)
        ties = None
        if ctx.needs_input_grad[1] or ctx.needs_input_grad[2]:
            ties = query.new_empty(scores.shape[:3]), query.new_empty(scores.shape[:3])
        results = forward(scores, query, key, features, ties=ties)
        ctx.scores = scores
        ctx.save_for_backward(query, key, features, *results, *(ties or (None, None)))
        ctx.set_materialize_grads(False)
        return results

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        if all(grad is None for grad in grads):
            return None, None, None, None
        query, key, features, expectation, lse, entropy, largest, top, ties = ctx.saved_tensors
        grad_output, grad_lse, grad_entropy, grad_largest = (
            None if grad is None else grad.contiguous() for grad in grads
        )
        bias, slope, spike = torch.zeros_like(lse), torch.zeros_like(lse), None
        if grad_lse is not None:
            bias += grad_lse
        if grad_entropy is not None:
            bias.addcmul_(grad_entropy, entropy, value=-1)
            slope -= grad_entropy
        if grad_largest is not None and top is not None:
            spread = grad_largest * largest
            bias -= spread
            spike = spread / ties.clamp(min=1)
        if grad_output is None:
            features = None
        else:
            bias -= torch.linalg.vecdot(grad_output, expectation)
        flows = Flows(ctx.scores, ctx.scores.scale, (query, key, lse), ctx.needs_input_grad[1:3])
        grad_features = None
        if features is not None and ctx.needs_input_grad[3]:
            grad_features = features.new_zeros(features.shape)
        library.load().call(
            "attend_backward",
            query.dtype,
            flows.problem,
            flows.map,
            None if features is None else library.feature_map(features, grad_features),
            *(grad_output, bias, slope, spike, top),
        )
        return None, *flows.grads(), grad_features
