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
from attnloss.given import SUM_TOLERANCE, GivenWeights
from attnloss.reference import DenseMap
from attnloss.score_map import ScoreMap
from attnloss.shapes import Shapes, resolve_target_kind


def kind_of(target: Tensor, kind: str | None, scores: ScoreMap, *, weighted: bool = False) -> str:
    """Say whether a target is "index", "dense" or, if it comes with weights, "sparse"."""
    if kind not in (None, "index", "dense", "sparse"):
        raise FieldError("kind", (), f"kind must be index, dense, sparse or None, got {kind!r}")
    batch, heads, n, m = scores.shape
    shapes = Shapes(scores.rank, batch, heads, scores.key_heads, n, m, 1, None)
    return resolve_target_kind(tuple(target.shape), _integer(target), kind, shapes, weighted=weighted)


def _integer(target: Tensor) -> bool:
    return not (target.is_floating_point() or target.is_complex() or target.dtype == torch.bool)


def index(
    given: Tensor, scores: ScoreMap, *, may_miss: bool = False, clampable: bool = False
) -> Int[Tensor, "#B #H n"]:
    """Lift an index target: each valid query's key is within 0…m−1, and allowed unless `may_miss`."""
    field = "target"
    if not _integer(given):
        raise FieldError(field, (), f"{field} must be integers, the key of each query, got {given.dtype}")
    lifted = ranks.lift_like(given, field, scores.rank, scores.shape[:3]).to(scores.device, torch.int64)
    m = scores.shape[3]
    outside = scores.valid & ((lifted < 0) | (lifted >= m))
    if place := first(outside):
        at = ranks.index_in(tuple(given.shape), place)
        raise FieldError(field, at, f"{field}{list(at)} must be within 0…{m - 1}, got {int(given[at])}")
    lifted = lifted.clamp(0, m - 1)
    if not may_miss and (place := first(scores.valid & ~scores.allows(lifted))):
        at = ranks.index_in(tuple(given.shape), place)
        hint = "; eps > 0 clamps it" if clampable else ""
        raise FieldError(
            field,
            at,
            f"the loss is infinite: {field}{list(at)} is key {int(given[at])}, "
            f"which query {place[2]} may not attend to{hint}",
        )
    return lifted


def sparse(
    given: Tensor, weights: Tensor, scores: ScoreMap, *, may_miss: bool, may_be_empty: bool = False
) -> tuple[Int[Tensor, "#B #H n k"], Float[Tensor, "#B #H n k"]]:
    """Lift a sparse target: some keys of each query, −1 for none, and shares that sum to 1, or 0 if that may be."""
    if tuple(given.shape) != tuple(weights.shape):
        came = f"{list(weights.shape)}, target is {list(given.shape)}"
        raise FieldError("target_weights", (), f"target_weights must have the shape of target, got {came}")
    if not weights.is_floating_point():
        raise FieldError("target_weights", (), f"target_weights must be floating point, got {weights.dtype}")
    shape = (*scores.shape[:3], given.shape[-1])
    keys = ranks.lift_like(given, "target", scores.rank, shape).to(scores.device, torch.int64)
    shares = ranks.lift_like(weights, "target_weights", scores.rank, shape).to(scores.device, scores.dtype)
    m, valid = scores.shape[3], scores.valid[..., None]
    if place := first(valid & ((keys < -1) | (keys >= m))):
        at = ranks.index_in(tuple(given.shape), place)
        raise FieldError("target", at, f"target{list(at)} must be within 0…{m - 1}, or −1, got {int(given[at])}")
    shares = torch.where(keys < 0, 0.0, shares)
    keys = keys.clamp(min=0)
    total, least = shares.detach().sum(-1), shares.detach().amin(-1)
    wrong = ~((total - 1).abs() <= SUM_TOLERANCE) & ~((total == 0) & may_be_empty)
    if place := first(scores.valid & (wrong | (least < 0))):
        at = ranks.index_in(tuple(given.shape[:-1]), place)
        raise _no_distribution("target_weights", at, place, total, least, "")
    if not may_miss and (place := first(valid & ~scores.allows_each(keys) & (shares > 0))):
        at = ranks.index_in(tuple(given.shape), place)
        expected = f"which query {place[2]} may not attend to; eps > 0 clamps it"
        raise FieldError("target", at, f"the loss is infinite: target{list(at)} is a key {expected}")
    return keys, shares


def reached(target: Float[Tensor, "#B #H n m"], scores: ScoreMap) -> None:
    """Check that weights that are given as 0 have no share of a dense target, whose loss would be infinite."""
    if not isinstance(scores, GivenWeights):
        return
    missed = (target > 0) & (scores.weights <= 0) & scores.valid[..., None]
    for tile in scores.row_tiles():
        if place := first(tile.cut_map(missed) & scores.allowed(tile)):
            place[2] += tile.rows.start
            where = f"key {place[3]} of query {place[2]}"
            raise FieldError("target", (), f"the loss is infinite: {where} has weight 0 and a share of the target")


def distributions(
    given: Tensor, field: str, scores: ScoreMap, *, may_be_empty: bool = False
) -> Float[Tensor, "#B #H n m"]:
    """Lift a map whose rows are distributions over the allowed keys of each valid query, or 0 if that may be."""
    lifted = ranks.lift_like(given, field, scores.rank, scores.shape).to(scores.device, scores.dtype)
    with torch.no_grad():
        for tile in scores.row_tiles():
            allowed = scores.allowed(tile)
            rows = tile.cut_map(lifted)
            rows = rows if allowed is None else torch.where(allowed, rows, 0.0)
            total, least = rows.sum(-1), rows.amin(-1)
            wrong = ~((total - 1).abs() <= SUM_TOLERANCE) | (least < 0)
            if may_be_empty:
                wrong &= (total != 0) | (least < 0)
            place = first(tile.cut_query(scores.valid) & wrong)
            if place:
                seen = list(place)
                place[2] += tile.rows.start
                at = ranks.index_in(tuple(given.shape[:-1]), place)
                raise _no_distribution(field, at, seen, total, least, " over the allowed keys")
    return lifted


def _no_distribution(
    field: str, at: tuple[int, ...], place: list[int], total: Tensor, least: Tensor, over: str
) -> FieldError:
    """Tell of a row whose total and least value stand at `place`, as far as their axes are not of size 1."""
    seen = tuple(0 if size == 1 else spot for spot, size in zip(place, total.shape, strict=True))
    came = f"a sum of {float(total[seen]):.6g} and a least value of {float(least[seen]):.6g}"
    expected = f"must be non-negative and sum to 1 ± {SUM_TOLERANCE:g}{over}"
    return FieldError(field, at, f"{field}{list(at)} {expected}; got {came}")


@torch.no_grad()
def supports(given: Tensor, probability: Float[Tensor, "#B #H n m"], scores: ScoreMap) -> None:
    """Check that no valid query puts weight where its probability is 0; costs a pass only if one is 0."""
    if bool((probability > 0).all()):
        return
    mass = chunked.stream(scores, {"mass": _WeightOnZeros(probability)})["mass"]
    if place := first(scores.valid & (mass > 0)):
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


def first(wrong: Tensor) -> list[int] | None:
    """Give the first true place, or None; looks for it only if there is one."""
    return [int(at) for at in wrong.nonzero()[0]] if bool(wrong.any()) else None
