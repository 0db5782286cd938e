"""The forward recursion of CTC over some queries, differentiable, for labels that are the keys in order."""

from collections.abc import Callable
from typing import Any, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd.function import once_differentiable

IMPOSSIBLE = -1e30
"""Stands for log 0: −∞ would make NaN of differences."""

_Pair = tuple[Tensor, Tensor]


def through(
    log_keys: Float[Tensor, "b h r k"],
    blanks: Float[Tensor, "b h m_and_1"],
    labels: Float[Tensor, "b h m"],
    log_blank: float,
    valid: Bool[Tensor, "b h r"],
) -> _Pair:
    """Pass through r queries: from the log-probabilities of ending in each blank and label to those after.

    Queries that are not valid leave them as they are. Computed in float64 (Graves et al. 2006, equations 6
    and 7, with labels that never repeat). Memory is that of r states.
    """
    recursion = cast("Callable[..., _Pair]", _Recursion.apply)
    return recursion(log_keys, blanks, labels, log_blank, valid)


class _Recursion(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, log_keys: Tensor, blanks: Tensor, labels: Tensor, log_blank: float, valid: Tensor) -> _Pair:
        states = [(blanks, labels)]
        keep = any(ctx.needs_input_grad[:3])
        for row in range(log_keys.shape[2]):
            emission = _emission(log_keys, row, labels.shape[-1])
            now, before = valid[:, :, row, None], states[-1]
            after = _step(*before, emission, log_blank)
            after = (torch.where(now, after[0], before[0]), torch.where(now, after[1], before[1]))
            if not keep:
                states.clear()
            states.append(after)
        ctx.states, ctx.log_blank = states[:-1] if keep else [], log_blank
        ctx.save_for_backward(log_keys, valid)
        return states[-1]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_blanks: Tensor, grad_labels: Tensor) -> tuple[Tensor | None, ...]:
        log_keys, valid = ctx.saved_tensors
        grad_keys = torch.zeros_like(log_keys)
        keys = log_keys.shape[-1]
        for row in reversed(range(log_keys.shape[2])):
            blanks, labels = ctx.states[row]
            emission = _emission(log_keys, row, labels.shape[-1])
            new_blanks, new_labels = _step(blanks, labels, emission, ctx.log_blank)
            now = valid[:, :, row, None]
            from_labels = torch.where(now, grad_labels, 0.0)
            from_blanks = torch.where(now, grad_blanks, 0.0)
            grad_keys[:, :, row] = from_labels[..., :keys].to(grad_keys.dtype)
            reached = new_labels - emission
            stay = from_labels * (labels - reached).exp()
            enter = from_labels * (blanks[..., :-1] - reached).exp()
            skip = from_labels[..., 1:] * (labels[..., :-1] - reached[..., 1:]).exp()
            closed = new_blanks - ctx.log_blank
            rest = from_blanks * (blanks - closed).exp()
            close = from_blanks[..., 1:] * (labels - closed[..., 1:]).exp()
            stay = stay + close
            stay[..., :-1] += skip
            rest[..., :-1] += enter
            grad_labels = torch.where(now, stay, grad_labels)
            grad_blanks = torch.where(now, rest, grad_blanks)
        return grad_keys, grad_blanks, grad_labels, None, None


def _emission(log_keys: Tensor, row: int, count: int) -> Tensor:
    emission = log_keys[:, :, row].double()
    return torch.nn.functional.pad(emission, (0, count - emission.shape[-1]), value=IMPOSSIBLE)


def _step(blanks: Tensor, labels: Tensor, emission: Tensor, log_blank: float) -> _Pair:
    """One query: a label follows itself, the blank before it or the label before it; a blank itself or its label."""
    before = torch.nn.functional.pad(labels[..., :-1], (1, 0), value=IMPOSSIBLE)
    reached = torch.logaddexp(torch.logaddexp(labels, blanks[..., :-1]), before)
    closing = torch.nn.functional.pad(labels, (1, 0), value=IMPOSSIBLE)
    return torch.logaddexp(blanks, closing) + log_blank, reached + emission
