"""The strongest keys of each query, as functionals."""

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor
from typing_extensions import override

from attnloss import reference
from attnloss.block import Block
from attnloss.functional import Functional
from attnloss.fused import FusedPass
from attnloss.reference import DenseMap
from attnloss.score_map import ScoreMap


@dataclass(frozen=True)
class _Strongest(Functional):
    """What of the `count` strongest keys of each query: [B, H, n, count]."""

    count: int
    needs = frozenset({"top"})

    @property
    @override
    def top_count(self) -> int:
        return self.count


@dataclass(frozen=True)
class TopIndex(_Strongest):
    """The `count` keys with the largest weights: descending, ties to the lower index, −1 past the last.

    The fused form ranks scores; chunks and twin rank weights, where scores that round to one weight are ties.
    """

    @override
    def allocate(self, scores: ScoreMap) -> Tensor:
        return scores.zeros(*scores.shape[:3], self.count, dtype=torch.int64)

    @override
    def from_block(self, block: Block, *operands: Tensor) -> Tensor:
        return block.shared(f"top {self.count}", lambda: top_index(block, self.count))

    @override
    def from_fused(self, fused: FusedPass, *operands: Tensor) -> Tensor:
        return fused.top(self.count)[0]

    @override
    def reference(self, dense: DenseMap, *operands: Tensor) -> Tensor:
        return reference.top_index(dense, self.count)


@dataclass(frozen=True)
class TopWeight(_Strongest):
    """The weights of the keys that `TopIndex` names, 0 where it names none."""

    @override
    def allocate(self, scores: ScoreMap) -> Tensor:
        return scores.zeros(*scores.shape[:3], self.count)

    @override
    def from_block(self, block: Block, *operands: Tensor) -> Tensor:
        index: Tensor = block.shared(f"top {self.count}", lambda: top_index(block, self.count))
        return _at(block.weights, index)

    @override
    def from_fused(self, fused: FusedPass, *operands: Tensor) -> Tensor:
        return fused.top(self.count)[1]

    @override
    def reference(self, dense: DenseMap, *operands: Tensor) -> Tensor:
        return _at(dense.weights, reference.top_index(dense, self.count))


def _at(weights: Tensor, index: Tensor) -> Tensor:
    return weights.gather(-1, index.clamp(min=0)).masked_fill(index < 0, 0.0)


def top_index(block: Block, count: int) -> Int[Tensor, "b h r count"]:
    """Rank the keys of a block: by topk, and where it leaves the order of ties open by a stable sort."""
    ranked = block.weights.detach()
    if block.allowed is not None:
        ranked = ranked.masked_fill(~block.allowed, -1.0)
    weight, index = ranked.topk(min(count + 1, ranked.shape[-1]), -1)
    tied = ((weight[..., 1:] == weight[..., :-1]) & (weight[..., 1:] >= 0)).any(-1)
    if bool(tied.any()):
        ordered = ranked[tied].sort(dim=-1, descending=True, stable=True)
        weight[tied], index[tied] = (part[:, : weight.shape[-1]] for part in ordered)
    index = index.masked_fill(weight < 0, -1)[..., :count]
    return torch.nn.functional.pad(index, (0, count - index.shape[-1]), value=-1)
