"""Attention, lse, entropy, largest and strongest in one pass over the score map, and their gradient in another."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from attnloss.kernels import library
from attnloss.kernels.flows import Flows, needs_gradient
from attnloss.scores import Scores

Results = tuple[Tensor | None, Tensor, Tensor, Tensor, Tensor | None, Tensor | None]


def forward(
    scores: Scores,
    query: Tensor,
    key: Tensor,
    features: Tensor | None,
    *,
    count: int = 0,
    scale: float | None = None,
    ties: tuple[Tensor, Tensor] | None = None,
) -> Results:
    """Compute expectation, lse, entropy and largest weight of query and key, readable by `rows`.

    The last two are the `count` strongest keys of each query and their weights, None where count is 0. Fills
    `ties`, if given, with the largest score of each query and how many keys have it.
    """
    native = library.load()
    per_query = scores.shape[:3]
    expectation = None if features is None else query.new_empty(*per_query, features.shape[-1])
    lse, entropy, largest = (query.new_empty(per_query) for _ in range(3))
    keys = query.new_empty(*per_query, count, dtype=torch.int64) if count else None
    weights = query.new_empty(*per_query, count) if count else None
    native.call(
        "attend",
        query.dtype,
        native.problem(scores),
        library.score_map(scores.scale if scale is None else scale, query, key),
        None if features is None else library.feature_map(features),
        *(expectation, lse, entropy, largest),
        *((None, None) if ties is None else ties),
        *(count, keys, weights),
    )
    return expectation, lse, entropy, largest, keys, weights


def attend(scores: Scores, features: Tensor | None, count: int) -> Results:
    """Compute the same as `forward`, recorded where a gradient is wanted."""
    if needs_gradient(scores.query, scores.key, features):
        results: Results = _Attended.apply(scores, scores.query, scores.key, features, count)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return results
    return forward(
        scores,
        library.rows(scores.query),
        library.rows(scores.key),
        None if features is None else library.rows(features),
        count=count,
    )


class _Attended(torch.autograd.Function):
    """It saves per-query results and nothing of the map."""

    @staticmethod
    def forward(ctx: Any, scores: Scores, query: Tensor, key: Tensor, features: Tensor | None, count: int) -> Results:
        query, key = library.rows(query), library.rows(key)
        features = None if features is None else library.rows(features)
        ties = None
        if ctx.needs_input_grad[1] or ctx.needs_input_grad[2]:
            ties = query.new_empty(scores.shape[:3]), query.new_empty(scores.shape[:3])
        results = forward(scores, query, key, features, count=count, ties=ties)
        ctx.scores = scores
        ctx.save_for_backward(query, key, features, *results, *(ties or (None, None)))
        ctx.set_materialize_grads(False)
        if results[4] is not None:
            ctx.mark_non_differentiable(results[4])
        return results

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        if all(grad is None for grad in grads):
            return None, None, None, None, None
        query, key, features, expectation, lse, entropy, largest, keys, weights, top, ties = ctx.saved_tensors
        grad_output, grad_lse, grad_entropy, grad_largest, _, grad_weights = (
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
        flow = None if grad_weights is None else grad_weights * weights
        if flow is not None:
            bias -= flow.sum(-1)
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
        if flow is not None:
            library.load().call("top_backward", query.dtype, flows.problem, flows.map, keys.shape[-1], keys, flow)
        return None, *flows.grads(), grad_features, None
