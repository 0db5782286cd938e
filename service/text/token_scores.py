"""Sequences of tokens, and what a model says of each token of them."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from attnloss.errors import FieldError
from attnloss.language import TokenScores, token_scores, token_scores_from_logits
from attnloss.probe import AttentionRecord
from service.errors import ComputeFailed
from service.text.models import TextModel

_IGNORED = -100
_ANY = 0
"""The target of a place whose likeliest tokens alone are wanted."""
_LEAST_LOGIT = -1e30
"""Stands for −∞, of which no log-probability could be told."""


@dataclass(frozen=True)
class TokenSequence:
    """Token ids, and of an encoder-decoder model those that it is to say."""

    ids: list[int]
    target_ids: list[int] | None = None

    def __len__(self) -> int:
        return len(self.ids) + len(self.target_ids or ())


@dataclass
class Forwarded:
    """What came of one sequence.

    `log_probs` [n]: of each token, NaN where nothing scores it; of an encoder-decoder model the target's tokens.
    `likeliest`: ids and log-probabilities [n, k] at each token's place, `following`: those [k] after the last token, of
    which a log-probability of −∞ is a very low one. `records`: the layers of the batch that it was
    in, and `row` its place there.
    """

    log_probs: np.ndarray | None = None
    likeliest: tuple[np.ndarray, np.ndarray] | None = None
    following: tuple[np.ndarray, np.ndarray] | None = None
    records: list[AttentionRecord] = field(default_factory=list)
    row: int = 0
    queries: int = 0
    keys: int = 0


def score(
    model: TextModel,
    sequences: list[TokenSequence],
    alternatives: int,
    out: Any,
    results: list[Forwarded],
    *,
    following: bool = False,
) -> None:
    """Log-probabilities of every token that has something before it, in the rows of the network's output."""
    last = _ANY if following else _IGNORED
    rows: list[list[int]] = []
    for sequence in sequences:
        causal = model.kind == "causal"
        rows.append([*sequence.ids[1:], last] if causal else list(sequence.target_ids or ()))
    states = out.last_hidden_state if model.projects else out.logits
    if model.layout == "packed":
        states = states[0]
    else:
        states = torch.cat([state[: len(row)] for state, row in zip(states, rows, strict=True)])
    targets = torch.tensor([i for row in rows for i in row], device=model.device)
    scored = _token_scores(model, states, targets, alternatives, finite=following)
    log_probs = scored.log_prob
    assert log_probs is not None
    start = 0
    for result, row in zip(results, rows, strict=True):
        part = slice(start, start + len(row))
        start += len(row)
        own = log_probs[part].float().cpu().numpy().astype(np.float64)
        result.log_probs = _at_their_places(own, model, np.nan)
        if scored.top is not None:
            indices, values = scored.top.indices[part].cpu().numpy(), scored.top.values[part].float().cpu().numpy()
            result.likeliest = _at_their_places(indices, model, -1), _at_their_places(values, model, np.nan)
            result.following = (indices[-1], values[-1]) if following else None


def _at_their_places(values: np.ndarray, model: TextModel, missing: float) -> np.ndarray:
    """What the query before a token says of it, at the token's place."""
    if model.kind != "causal":
        return values
    moved = np.roll(values, 1, axis=0)
    moved[0] = missing
    return moved


def _token_scores(model: TextModel, states: Tensor, targets: Tensor, alternatives: int, *, finite: bool) -> TokenScores:
    top_k = alternatives or None
    try:
        if not model.projects:
            states = states.clamp(min=_least_logit(states)) if finite else states
            return token_scores_from_logits(states, targets, top_k=top_k)
        weight, bias = model.head
        if finite and bias is not None:
            bias = bias.clamp(min=_least_logit(bias))
        return token_scores(states, weight, targets, bias=bias, top_k=top_k)
    except FieldError as error:
        if error.field == "top_k":
            raise
        raise ComputeFailed(f"{model.name} gives no finite scores in {states.dtype}.") from error


def _least_logit(values: Tensor) -> float:
    return max(_LEAST_LOGIT, torch.finfo(values.dtype).min / 2)
