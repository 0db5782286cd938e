"""What the client answers: what was asked for as numpy arrays, the rest None."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True, eq=False)
class Result:
    """What every answer has.

    Attributes:
        backend: what computed it: native, flash, chunked or gram; None if nothing named it.
        device: where it was computed.
        request_id: the X-Request-ID under which the server logged it.
        timing: seconds of the server's stages: decode, queue, compute, encode.

    """

    backend: str | None = None
    device: str | None = None
    request_id: str | None = None
    timing: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class AttentionResult(Result):
    """Statistics of attention in the rank of the query; float32, or float64 if that was the dtype.

    Attributes:
        output: [..., n, value_d].
        weights: [..., n, m], or the window that was asked for.
        lse: [..., n]; −inf for a fully masked query.
        entropy: [..., n], in nats.
        max: [..., n], the largest weight of each query.
        received: [..., m], the attention that each key receives.
        top_index: [..., n, top_k] int64, descending by weight; −1 where fewer keys are allowed.
        top_weight: [..., n, top_k].

    """

    output: np.ndarray | None = None
    weights: np.ndarray | None = None
    lse: np.ndarray | None = None
    entropy: np.ndarray | None = None
    max: np.ndarray | None = None
    received: np.ndarray | None = None
    top_index: np.ndarray | None = None
    top_weight: np.ndarray | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Gradients:
    """Gradients of the total loss, each in the shape of its input; `value` only if it was given."""

    query: np.ndarray
    key: np.ndarray
    value: np.ndarray | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class LossResult(AttentionResult):
    """Losses over the weights, and what else was asked for.

    Attributes:
        loss: Σ weight · reduced loss; [..., n] with reduction none.
        losses: each reduced loss, unweighted, by label or name.
        per_query: each loss of each query, [..., n], 0 where the query is invalid.
        grad: gradients of `loss`.

    """

    loss: float | np.ndarray | None = None
    losses: dict[str, float | np.ndarray] | None = None
    per_query: dict[str, np.ndarray] | None = None
    grad: Gradients | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class TextResult(Result):
    """What came of one text or several.

    Attributes:
        results: one entry per text, with the fields of the JSON answer (`tokens`, `offsets`, `layers`, `log_probs`,
            `loss`, ...); what holds a number for each head, query or key is a numpy array.
        model: the model that read the texts; None for a teacher and a student.
        teacher: the model whose maps were compared with the student's.
        student: the model that was compared.

    """

    results: list[dict[str, Any]]
    model: str | None = None
    teacher: str | None = None
    student: str | None = None
