"""Overlaps of the heads' maps, tile by tile."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from typing_extensions import override

from attnloss.block import Block
from attnloss.functional import Functional
from attnloss.reference import DenseMap
from attnloss.score_map import ScoreMap
from attnloss.tiles import Tile


@dataclass(frozen=True)
class HeadOverlaps(Functional):
    """Σ_i Σ_j p^a_ij·p^b_ij of all pairs of heads, [B, H, H]."""

    accumulates = True
    whole_heads = True

    @override
    def allocate(self, scores: ScoreMap) -> Tensor:
        batch, heads = scores.shape[:2]
        return scores.zeros(batch, heads, heads)

    @override
    def slot(self, result: Tensor, tile: Tile) -> Tensor:
        return result[tile.batch]

    @override
    def from_block(self, block: Block, *operands: Tensor) -> Tensor:
        flat = block.weights.flatten(2)
        return flat @ flat.mT

    @override
    def reference(self, dense: DenseMap, *operands: Tensor) -> Tensor:
        flat = dense.weights.flatten(2)
        return flat @ flat.mT


@dataclass(frozen=True)
class HeadOrthogonality(Functional):
    """‖A_i·A_iᵀ − I‖² of each query, A_i holding the heads' weights [H, m]; heads that see nothing left out."""

    whole_heads = True

    @override
    def allocate(self, scores: ScoreMap) -> Tensor:
        batch, _, n, _ = scores.shape
        return scores.zeros(batch, 1, n)

    @override
    def slot(self, result: Tensor, tile: Tile) -> Tensor:
        return result[tile.batch, :, tile.rows]

    @override
    def from_block(self, block: Block, *operands: Tensor) -> Tensor:
        valid = block.tile.cut_query(block.scores.valid).expand(block.weights.shape[:3])
        return _orthogonality(block.weights, valid)

    @override
    def reference(self, dense: DenseMap, *operands: Tensor) -> Tensor:
        return _orthogonality(dense.weights, dense.allowed.any(-1))


def _orthogonality(weights: Float[Tensor, "b h r k"], valid: Bool[Tensor, "b h r"]) -> Float[Tensor, "b 1 r"]:
    by_query = weights.transpose(1, 2)
    wanted = torch.diag_embed(valid.transpose(1, 2).to(weights.dtype))
    return (by_query @ by_query.mT - wanted).square().sum((-1, -2))[:, None]
