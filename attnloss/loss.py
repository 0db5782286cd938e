"""A loss: the functionals of the map that it is made of, how they combine, and how its values are reduced."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from attnloss.functional import Functional
from attnloss.reduce import check_reduction, reduce
from attnloss.score_map import ScoreMap
from attnloss.streaming import Evaluation, evaluate

Unit = Literal["query", "head", "batch"]

Parts = Mapping[str, Tensor]

OwnReduction = Callable[[Tensor, Tensor, int], Tensor]
"""A codebase's own: from values, counts of allowed keys [B, H, n] and m to one number."""


@dataclass(frozen=True, eq=False)
class Loss:
    """Values [B, H, n] per query, [B, H] per head or [B] per batch entry, computed from parts of one pass.

    `own_reduction` takes the place of none, mean and sum where a loss follows another codebase.
    """

    parts: Mapping[str, Functional]
    combine: Callable[[Parts], Tensor]
    unit: Unit = "query"
    own_reduction: OwnReduction | None = None

    @classmethod
    def of(cls, functional: Functional, own_reduction: OwnReduction | None = None) -> "Loss":
        """Make a loss of one functional that is a value per query."""
        return cls({"": functional}, lambda parts: parts[""], own_reduction=own_reduction)

    def reduce(
        self, values: Float[Tensor, "*unit"], counts: Int[Tensor, "B H n"], keys: int, reduction: str
    ) -> Float[Tensor, "*reduced"]:
        """Reduce values over the units that have a query that may attend to something."""
        check_reduction(reduction)
        if self.own_reduction is not None:
            return self.own_reduction(values, counts, keys)
        valid = counts > 0
        if self.unit != "query":
            valid = valid.any(-1)
        if self.unit == "batch":
            valid = valid.any(-1)
        return reduce(values, valid, reduction)


def evaluate_losses(
    scores: ScoreMap,
    losses: Mapping[str, Loss],
    statistics: Mapping[str, Functional] | None = None,
    *,
    backend: str = "auto",
) -> tuple[dict[str, Tensor], Evaluation]:
    """Compute the values of losses, and statistics beside them, in one pass over the scores.

    Returns the values of each loss, unreduced and in rank 4, 0 at queries that may attend to nothing, and the
    evaluation with the statistics.
    """
    wanted: dict[object, Functional] = {}
    wanted.update(statistics or {})
    for name, loss in losses.items():
        wanted |= {(name, part): functional for part, functional in loss.parts.items()}
    evaluation = evaluate(scores, wanted, backend=backend)
    values = {}
    for name, loss in losses.items():
        combined = loss.combine({part: evaluation.values[name, part] for part in loss.parts})
        values[name] = torch.where(scores.valid, combined, 0.0) if loss.unit == "query" else combined
    left = {name: evaluation.values[name] for name in statistics or {}}
    return values, Evaluation(left, evaluation.backend)


def sum_over_queries(values: Tensor, counts: Tensor, keys: int) -> Tensor:
    """Sum over valid queries."""
    return torch.where(counts > 0, values, 0.0).sum()


def mean_over_allowed(values: Tensor, counts: Tensor, keys: int) -> Tensor:
    """Mean over the cells that are allowed: Σ values / Σ_i M_i."""
    return torch.where(counts > 0, values, 0.0).sum() / counts.sum().clamp(min=1)


def mean_over_cells(values: Tensor, counts: Tensor, keys: int) -> Tensor:
    """Mean over all cells of the map, padding included: Σ values / (B·H·n·m)."""
    return torch.where(counts > 0, values, 0.0).sum() / (counts.numel() * keys)


def mean_of_means(values: Tensor, counts: Tensor, keys: int) -> Tensor:
    """Mean over the valid queries of each batch entry, then over the entries that have one."""
    valid = (counts > 0).flatten(1)
    sums = torch.where(valid, values.flatten(1), 0.0).sum(-1)
    means = sums / valid.sum(-1).clamp(min=1)
    return means.sum() / valid.any(-1).sum().clamp(min=1)


def over_entries(values: Tensor, counts: Tensor, keys: int) -> Tensor:
    """Mean over batch entries, and over heads where values are per head."""
    return values.mean()
