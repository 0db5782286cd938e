"""What keys receive, as functionals."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from attnloss.block import Block
from attnloss.functional import Functional, Operand
from attnloss.fused import FusedPass
from attnloss.reference import DenseMap
from attnloss.score_map import ScoreMap
from attnloss.tiles import Tile


class _ColumnSums(Functional):
    """Σ_i w_i·p_ij, one value per key and query head: [B, H, m]; w is 1 where there is no operand."""

    needs = frozenset({"received"})
    accumulates = True

    @override
    def allocate(self, scores: ScoreMap) -> Tensor:
        batch, heads, _, m = scores.shape
        return scores.zeros(batch, heads, m)

    @override
    def slot(self, result: Tensor, tile: Tile) -> Tensor:
        return result[tile.batch, tile.heads, : tile.keys]

    @override
    def from_block(self, block: Block, *operands: Tensor) -> Tensor:
        row_weights = block.total.reciprocal()
        if operands:
            row_weights = row_weights * operands[0][..., None]
        return (row_weights.mT @ block.exp)[..., 0, :]

    @override
    def from_fused(self, fused: FusedPass, *operands: Tensor) -> Tensor:
        return fused.received(*operands)

    @override
    def reference(self, dense: DenseMap, *operands: Tensor) -> Tensor:
        weights = dense.weights * operands[0][..., None] if operands else dense.weights
        return weights.sum(-2)


@dataclass(frozen=True)
class Received(_ColumnSums):
    """Σ_i p_ij."""


@dataclass(frozen=True, eq=False)
class WeightedReceived(_ColumnSums):
    """Σ_i w_i·p_ij for one w per query [B, H, n]: a step back along the map."""

    row_weights: Float[Tensor, "B H n"]

    @property
    @override
    def operands(self) -> tuple[Operand, ...]:
        return (Operand(self.row_weights, "query"),)
