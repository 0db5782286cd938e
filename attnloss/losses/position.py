"""The mean position that a query attends to, E_i = Σ_j p_ij·j."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from attnloss.block import Block
from attnloss.functional import Functional
from attnloss.fused import FusedPass
from attnloss.reference import DenseMap
from attnloss.score_map import ScoreMap


@dataclass(frozen=True)
class MeanPosition(Functional):
    """E_i, in keys counted from 0."""

    needs = frozenset({"expect"})

    @override
    def from_block(self, block: Block, *operands: Tensor) -> Tensor:
        return mean_position(block)

    @override
    def features(self, scores: ScoreMap) -> Tensor:
        batch, _, _, m = scores.shape
        j = torch.arange(m, device=scores.device, dtype=scores.dtype)
        return j[:, None].expand(batch, scores.key_heads, m, 1)

    @override
    def from_fused(self, fused: FusedPass, *operands: Tensor) -> Tensor:
        return fused.expect(self)[..., 0]

    @override
    def reference(self, dense: DenseMap, *operands: Tensor) -> Tensor:
        return (dense.weights * torch.arange(dense.weights.shape[-1], device=dense.weights.device).double()).sum(-1)


def mean_position(block: Block) -> Float[Tensor, "b h r"]:
    """E_i of a block, computed once."""

    def compute() -> Tensor:
        j = block.scores.positions(block.tile)[1].to(block.scores.dtype)
        return (block.exp @ j) / block.total[..., 0]

    return block.shared("mean position", compute)
