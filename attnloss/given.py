"""A map that someone has already: its logarithm stands for the scores."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from typing_extensions import override

from attnloss import ranks
from attnloss.errors import FieldError
from attnloss.score_map import FAR, ScoreMap
from attnloss.scores import attendance
from attnloss.tiles import Operand, Tile

SUM_TOLERANCE = 1e-3
"""How far the sum of a distribution may be from 1."""


@dataclass(frozen=True, eq=False)
class GivenWeights(ScoreMap):
    """Weights p_ij; s_ij = log p_ij, so that softmax gives them back, and a query of weights 0 is fully masked.

    Mask, causal and lengths say what is allowed; log 0 is FAR, whose exponential is 0. Gradients are those of
    the normalised row, Σ_j p_ij = 1 held; through a softmax they are the same.
    """

    weights: Float[Tensor, "B H n m"]

    @property
    @override
    def shape(self) -> tuple[int, int, int, int]:
        batch, heads, n, m = self.weights.shape
        return batch, heads, n, m

    @property
    @override
    def key_heads(self) -> int:
        return self.weights.shape[1]

    @property
    @override
    def operands(self) -> tuple[Operand, ...]:
        return (Operand(self.weights, "map"),)

    @override
    def cells(self, cuts: Sequence[Tensor], out: Tensor | None) -> Tensor:
        positive = cuts[0] > 0
        return torch.where(positive, torch.where(positive, cuts[0], 1.0).log(), FAR)

    @property
    @override
    def counted_by_cell(self) -> bool:
        return True

    @cached_property
    def filled(self) -> Bool[Tensor, "B H n"]:
        """Which queries have weights."""
        return (self.weights.detach() > 0).any(-1)

    @override
    def free_keys(self, rows: slice) -> int:
        return 0

    @override
    def allowed(self, tile: Tile) -> Bool[Tensor, "#b #h r k"]:
        filled = tile.cut_query(self.filled)[..., None].expand(-1, -1, -1, tile.keys)
        rest = super().allowed(tile)
        return filled if rest is None else filled & rest

    @override
    def allows_each(self, index: Tensor) -> Tensor:
        """Say so of keys that have weight: the logarithm of another would be infinite."""
        whole = index.expand(*self.shape[:3], -1)
        return super().allows_each(whole) & (self.weights.detach().gather(-1, whole) > 0)


def make_given(
    weights: Float[Tensor, "*batch n m"],
    *,
    causal: bool = False,
    mask: Bool[Tensor, "..."] | None = None,
    key_lengths: Tensor | Sequence[int] | int | None = None,
    query_lengths: Tensor | Sequence[int] | int | None = None,
    field: str = "weights",
) -> GivenWeights:
    """Validate weights [n, m], [batch, n, m] or [batch, heads, n, m]: softmax outputs, 0 at what is masked.

    Raises FieldError where a row is negative, or sums to neither 1 ± 1e-3 nor, fully masked, 0.
    """
    if not weights.is_floating_point():
        raise FieldError(field, (), f"{field} must be floating point, got {weights.dtype}")
    rank = weights.ndim
    if rank not in (2, 3, 4) or 0 in weights.shape:
        raise FieldError(field, (), f"{field} must have rank 2, 3 or 4 and no empty dim, got {list(weights.shape)}")
    compute = torch.float64 if weights.dtype == torch.float64 else torch.float32
    lifted = ranks.lift(weights, rank).to(compute)
    batch, heads, n, m = lifted.shape
    _check_rows(weights.detach(), field)
    shared = attendance(
        (batch, heads, n, m),
        rank,
        weights.device,
        causal,
        mask,
        key_lengths=key_lengths,
        query_lengths=query_lengths,
    )
    given = GivenWeights(weights=lifted, rank=rank, input_dtype=weights.dtype, **shared)
    for tile in given.row_tiles():
        _check_masked(given, tile, field)
    return given


def _check_rows(weights: Tensor, field: str) -> None:
    total, least = weights.sum(-1, dtype=torch.float32), weights.amin(-1)
    tolerance = SUM_TOLERANCE + weights.shape[-1] ** 0.5 * torch.finfo(weights.dtype).eps
    wrong = ~(((total - 1).abs() <= tolerance) | (total == 0)) | (least < 0)
    if bool(wrong.any()):
        at = tuple(int(place) for place in wrong.nonzero()[0])
        came = f"a sum of {float(total[at]):.6g} and a least value of {float(least[at]):.6g}"
        expected = f"must be non-negative and sum to 1 ± {SUM_TOLERANCE:g}, or be all 0 where masked"
        raise FieldError(field, at, f"{field}{list(at)} {expected}; got {came}")


def _check_masked(given: GivenWeights, tile: Tile, field: str) -> None:
    rest = ScoreMap.allowed(given, tile)
    if rest is None:
        return
    stray = (tile.cut_map(given.weights.detach()) > 0) & ~rest
    if bool(stray.any()):
        place = [int(at) for at in stray.nonzero()[0]]
        place[2] += tile.rows.start
        at = ranks.index_in(tuple(ranks.restore(given.weights, given.rank).shape), place)
        raise FieldError(field, at, f"{field}{list(at)} must be 0 where mask, causal or lengths deny the key")
