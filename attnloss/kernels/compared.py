"""Sums over keys of a function of two maps' weights, without either map being held."""

import math
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from attnloss.kernels import attended, library
from attnloss.kernels.flows import Flows
from attnloss.scores import Scores

KINDS = ("kl", "reverse_kl", "js", "total_variation", "hellinger", "squares", "overlaps")
"""In the order of divergence.hpp."""


def compare(scores: Scores, other: Scores, kind: str) -> Tensor:
    """Compute one value per query; for overlaps Σ p², Σ p·r and Σ r², stacked in front.

    `scores` says what is allowed to both maps, and `other` gives its query, key and scale alone.
    """
    tensors = scores.query, scores.key, other.query, other.key
    return cast("Tensor", _Compared.apply(scores, other, kind, *tensors))  # type: ignore[no-untyped-call]  # torch leaves it untyped


class _Compared(torch.autograd.Function):
    """It saves both lses and three sums per query."""

    @staticmethod
    def forward(
        ctx: Any, scores: Scores, other: Scores, kind: str, query: Tensor, key: Tensor, query2: Tensor, key2: Tensor
    ) -> Tensor:
        native = library.load()
        query, key, query2, key2 = map(library.rows, (query, key, query2, key2))
        ours = attended.forward(scores, query, key, None)[1]
        theirs = attended.forward(scores, query2, key2, None, scale=other.scale)[1]
        sums = query.new_empty(3, *scores.shape[:3])
        native.call(
            "compare",
            query.dtype,
            native.problem(scores),
            library.score_map(scores.scale, query, key, ours),
            library.score_map(other.scale, query2, key2, theirs),
            *(KINDS.index(kind), sums),
        )
        ctx.setting = scores, other, kind
        ctx.save_for_backward(query, key, ours, query2, key2, theirs, sums)
        return sums if kind == "overlaps" else sums[0].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (scores, other, kind), needed = ctx.setting, ctx.needs_input_grad[3:]
        query, key, ours, query2, key2, theirs, sums = ctx.saved_tensors
        grad = grad.contiguous()
        if kind == "overlaps":
            cross = grad[1] * sums[1]
            by_u, by_v = 2 * grad[0] * sums[0] + cross, 2 * grad[2] * sums[2] + cross
        else:
            by_u, by_v = grad * sums[1], grad * sums[2]
        groups = math.gcd(key.shape[1], key2.shape[1])
        first = Flows(scores, scores.scale, (query, key, ours), needed[:2], groups)
        second = Flows(scores, other.scale, (query2, key2, theirs), needed[2:], groups)
        library.load().call(
            "compare_backward",
            query.dtype,
            *(first.problem, first.map, second.map),
            *(KINDS.index(kind), grad, by_u, by_v),
        )
        return None, None, None, *first.grads(), *second.grads()
