"""Means of a cost per cell, Σ_j p_ij·w_ij, w depending on positions alone."""

from abc import abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from attnloss.block import Block
from attnloss.functional import Functional
from attnloss.reference import DenseMap
from attnloss.score_map import ScoreMap, per_entry
from attnloss.tiles import Tile


class CellMean(Functional):
    """Σ_j p_ij·w_ij."""

    @abstractmethod
    def cost(self, i: Tensor, j: Tensor, n: Tensor, m: Tensor) -> Float[Tensor, "#b 1 r k"]:
        """Compute w from positions [r, 1] and [k], and counts of valid queries and keys [b, 1, 1, 1], floats."""

    @override
    def from_block(self, block: Block, *operands: Tensor) -> Tensor:
        return block.mean_of(block.shared(self, lambda: self.cost(*places(block.scores, block.tile))))

    @override
    def reference(self, dense: DenseMap, *operands: Tensor) -> Tensor:
        n, m = dense.weights.shape[2:]
        i, j = (torch.arange(size, device=dense.weights.device).double() for size in (n, m))
        i = i[:, None]
        ends = [end.double()[:, None, None, None] for end in (dense.query_ends, dense.key_ends)]
        return (dense.weights * self.cost(i, j, *ends)).sum(-1)


def places(scores: ScoreMap, tile: Tile) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Positions of a tile's queries and keys, and the counts of valid ones, in the dtype of the scores."""
    i, j = scores.positions(tile)
    ends = [per_entry(end, tile.batch) for end in (scores.query_end, scores.key_end)]
    n, m = (torch.as_tensor(end, device=scores.device, dtype=scores.dtype).view(-1, 1, 1, 1) for end in ends)
    return i.to(scores.dtype), j.to(scores.dtype), n, m
