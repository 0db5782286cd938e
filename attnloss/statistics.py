"""Statistics of the attention map as functionals: what `attention(returns=...)` can name."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from typing_extensions import override

from attnloss import reference
from attnloss.block import Block
from attnloss.flash import FlashPass
from attnloss.functional import Functional, Operand
from attnloss.reference import DenseMap
from attnloss.scores import Scores
from attnloss.tiles import Tile


@dataclass(frozen=True, eq=False)
class Expectation(Functional):
    """Σ_j p_ij·x_j for features x [B, Hkv, m, f]: with the values it is the output of attention."""

    features: Float[Tensor, "B Hkv m f"]
    flash = "features"

    @property
    @override
    def operands(self) -> tuple[Operand, ...]:
        return (Operand(self.features, "key"),)

    @override
    def allocate(self, scores: Scores) -> Tensor:
        return scores.query.new_zeros(*scores.shape[:3], self.features.shape[-1])

    @override
    def from_block(self, block: Block, *operands: Tensor) -> Tensor:
        return block.expect(operands[0])

    @override
    def from_flash(self, flash: FlashPass, *operands: Tensor) -> Tensor:
        return flash.expect(operands[0])

    @override
    def reference(self, dense: DenseMap, *operands: Tensor) -> Tensor:
        return reference.expect(dense, operands[0])


class Lse(Functional):
    """log Σ_j exp(s_ij); −∞ where a query may attend to nothing."""

    flash = "lse"

    @override
    def from_block(self, block: Block, *operands: Tensor) -> Tensor:
        return block.lse

    @override
    def from_flash(self, flash: FlashPass, *operands: Tensor) -> Tensor:
        return flash.lse

    @override
    def reference(self, dense: DenseMap, *operands: Tensor) -> Tensor:
        return dense.lse


class Entropy(Functional):
    """−Σ_j p_ij·log p_ij, from p·(s − max) in blocks and from L − scale·q·(P·K) by flash."""

    flash = "features"
    cancels = True

    @override
    def from_block(self, block: Block, *operands: Tensor) -> Tensor:
        return block.log_total[..., 0] - block.mean_of(block.shifted)

    @override
    def from_flash(self, flash: FlashPass, *operands: Tensor) -> Tensor:
        return flash.entropy

    @override
    def reference(self, dense: DenseMap, *operands: Tensor) -> Tensor:
        return reference.entropy(dense)


class LargestWeight(Functional):
    """max_j p_ij; its gradient is shared evenly among ties."""

    @override
    def from_block(self, block: Block, *operands: Tensor) -> Tensor:
        return block.shifted.amax(-1).exp() / block.total[..., 0]

    @override
    def reference(self, dense: DenseMap, *operands: Tensor) -> Tensor:
        return reference.largest(dense)


class Received(Functional):
    """Σ_i p_ij, one value per key and query head: [B, H, m]."""

    accumulates = True

    @override
    def allocate(self, scores: Scores) -> Tensor:
        batch, heads, _, m = scores.shape
        return scores.query.new_zeros(batch, heads, m)

    @override
    def slot(self, result: Tensor, tile: Tile) -> Tensor:
        return result[tile.batch, tile.heads, : tile.keys]

    @override
    def from_block(self, block: Block, *operands: Tensor) -> Tensor:
        return (block.total.reciprocal().mT @ block.exp)[..., 0, :]

    @override
    def reference(self, dense: DenseMap, *operands: Tensor) -> Tensor:
        return reference.received(dense)


@dataclass(frozen=True, eq=False)
class Weights(Functional):
    """p_ij, or the window of it that `queries` and `keys` cut out: rows are whole softmaxes, then cut."""

    queries: range
    keys: range

    @override
    def rows(self, scores: Scores) -> range:
        return self.queries

    @override
    def allocate(self, scores: Scores) -> Tensor:
        return scores.query.new_zeros(*scores.shape[:2], len(self.queries), len(self.keys))

    def _cut(self, tile: Tile) -> tuple[slice, slice]:
        first = max(self.queries.start, tile.rows.start)
        stop = max(min(self.queries.stop, tile.rows.stop), first)
        key_stop = max(min(self.keys.stop, tile.keys), self.keys.start)
        return slice(first, stop), slice(self.keys.start, key_stop)

    @override
    def slot(self, result: Tensor, tile: Tile) -> Tensor:
        rows, keys = self._cut(tile)
        top, left = self.queries.start, self.keys.start
        cut = result[tile.batch, tile.heads, rows.start - top : rows.stop - top]
        return cut[..., : keys.stop - left]

    @override
    def from_block(self, block: Block, *operands: Tensor) -> Tensor:
        rows, keys = self._cut(block.tile)
        top = block.tile.rows.start
        return block.weights[:, :, rows.start - top : rows.stop - top, keys]

    @override
    def reference(self, dense: DenseMap, *operands: Tensor) -> Tensor:
        return dense.weights[:, :, self.queries.start : self.queries.stop, self.keys.start : self.keys.stop]


@dataclass(frozen=True, eq=False)
class TopIndex(Functional):
    """The `count` keys with the largest weights: descending, ties to the lower index, −1 past the last."""

    count: int

    @override
    def allocate(self, scores: Scores) -> Tensor:
        return scores.query.new_zeros(*scores.shape[:3], self.count, dtype=torch.int64)

    @override
    def from_block(self, block: Block, *operands: Tensor) -> Tensor:
        return block.shared(f"top {self.count}", lambda: top_index(block, self.count))

    @override
    def reference(self, dense: DenseMap, *operands: Tensor) -> Tensor:
        return reference.top_index(dense, self.count)


@dataclass(frozen=True, eq=False)
class TopWeight(Functional):
    """The weights of the keys that `TopIndex` names, 0 where it names none."""

    count: int

    @override
    def allocate(self, scores: Scores) -> Tensor:
        return scores.query.new_zeros(*scores.shape[:3], self.count)

    @override
    def from_block(self, block: Block, *operands: Tensor) -> Tensor:
        index: Tensor = block.shared(f"top {self.count}", lambda: top_index(block, self.count))
        return _at(block.weights, index)

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
