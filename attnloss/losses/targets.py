"""Targets and probabilities, checked against the scores they belong to, block by block."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from typing_extensions import override

from attnloss import chunked, ranks
from attnloss.block import Block
from attnloss.errors import FieldError
from attnloss.functional import Functional, Operand
from attnloss.reference import DenseMap
from attnloss.scores import Scores
from attnloss.shapes import Shapes, resolve_target_kind

SUM_TOLERANCE = 1e-3
"""How far the sum of a distribution may be from 1."""


def kind_of(target: Tensor, kind: str | None, scores: Scores) -> str:
    """Say whether a target is "index" or "dense": by `kind` if given, else by dtype and shape."""
    if kind not in (None, "index", "dense"):
        raise FieldError("kind", (), f"kind must be index, dense or None, got {kind!r}")
    batch, heads, n, m = scores.shape
    shapes = Shapes(scores.rank, batch, heads, scores.key.shape[1], n, m, scores.query.shape[3], None)
    integer = not (target.is_floating_point() or target.is_complex() or target.dtype == torch.bool)
    return resolve_target_kind(tuple(target.shape), integer, kind, shapes)


def index(given: Tensor, scores: Scores, *, may_miss: bool) -> Int[Tensor, "#B #H n"]:
    """Lift an index target: each valid query's key is within 0…m−1, and allowed unless `may_miss`."""
    lifted = ranks.lift_like(given, "target", scores.rank, scores.shape[:3]).to(scores.query.device, torch.int64)
    m = scores.shape[3]
    outside = scores.valid & ((lifted < 0) | (lifted >= m))
    if place := _first(outside):
        at = ranks.index_in(tuple(given.shape), place)
        raise FieldError("target", at, f"target{list(at)} must be within 0…{m - 1}, got {int(given[at])}")
    lifted = lifted.clamp(0, m - 1)
    if not may_miss and (place := _first(scores.valid & ~scores.allows(lifted))):
        at = ranks.index_in(tuple(given.shape), place)
        raise FieldError(
            "target",
            at,
            f"the loss is infinite: target{list(at)} is key {int(given[at])}, "
            f"which query {place[2]} may not attend to; eps > 0 clamps it",
        )
    return lifted


def distributions(given: Tensor, field: str, scores: Scores) -> Float[Tensor, "#B #H n m"]:
    """Lift a map whose rows are distributions over the allowed keys of each valid query."""
    lifted = ranks.lift_like(given, field, scores.rank, scores.shape).to(scores.query.device, scores.dtype)
    with torch.no_grad():
        for tile in scores.row_tiles():
            allowed = scores.allowed(tile)
            rows = tile.cut_map(lifted)
            rows = rows if allowed is None else torch.where(allowed, rows, 0.0)
            total, least = rows.sum(-1), rows.amin(-1)
            wrong = ~((total - 1).abs() <= SUM_TOLERANCE) | (least < 0)
            place = _first(tile.cut_query(scores.valid) & wrong)
            if place:
                seen = tuple(0 if size == 1 else at for at, size in zip(place, total.shape, strict=True))
                place[2] += tile.rows.start
                at = ranks.index_in(tuple(given.shape[:-1]), place)
                came = f"a sum of {float(total[seen]):.6g} and a least value of {float(least[seen]):.6g}"
                raise FieldError(
                    field,
                    at,
                    f"{field}{list(at)} must be non-negative and sum to 1 ± {SUM_TOLERANCE:g} "
                    f"over the allowed keys; got {came}",
                )
    return lifted


@torch.no_grad()
def supports(given: Tensor, probability: Float[Tensor, "#B #H n m"], scores: Scores) -> None:
    """Check that no valid query puts weight where its probability is 0; costs a pass only if one is 0."""
    if bool((probability > 0).all()):
        return
    mass = chunked.stream(scores, {"mass": _WeightOnZeros(probability)})["mass"]
    if place := _first(scores.valid & (mass > 0)):
        at = ranks.index_in(tuple(given.shape[:-1]), place)
        raise FieldError(
            "probability",
            at,
            f"the loss is infinite: probability{list(at)} is 0 at a key to which query {place[2]} "
            f"gives a weight of {float(mass[tuple(place)]):.3g}; eps > 0 clamps it",
        )


@dataclass(frozen=True, eq=False)
class _WeightOnZeros(Functional):
    probability: Float[Tensor, "#B #H n m"]

    @property
    @override
    def operands(self) -> tuple[Operand, ...]:
        return (Operand(self.probability, "map"),)

    @override
    def from_block(self, block: Block, *operands: Tensor) -> Tensor:
        return (block.weights * (operands[0] <= 0)).amax(-1)

    @override
    def reference(self, dense: DenseMap, *operands: Tensor) -> Tensor:
        return (dense.weights * (operands[0] <= 0)).amax(-1)


def _first(wrong: Tensor) -> list[int] | None:
    """Give the first true place, or None; looks for it only if there is one."""
    return [int(at) for at in wrong.nonzero()[0]] if bool(wrong.any()) else None
