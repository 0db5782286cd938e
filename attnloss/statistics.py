"""Statistics of the attention map as functionals: output, lse, entropy, largest weight, weights."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from attnloss import reference
from attnloss.block import Block
from attnloss.functional import Functional, Operand
from attnloss.fused import FusedPass
from attnloss.reference import DenseMap
from attnloss.score_map import ScoreMap
from attnloss.tiles import Tile


@dataclass(frozen=True, eq=False)
class Expectation(Functional):
    """Σ_j p_ij·x_j for values x [B, Hkv, m, f]: with the values it is the output of attention."""

    values: Float[Tensor, "B Hkv m f"]
    needs = frozenset({"expect"})

    @property
    @override
    def operands(self) -> tuple[Operand, ...]:
        return (Operand(self.values, "key"),)

    @override
    def allocate(self, scores: ScoreMap) -> Tensor:
        return scores.zeros(*scores.shape[:3], self.values.shape[-1])

    @override
    def from_block(self, block: Block, *operands: Tensor) -> Tensor:
        return block.expect(operands[0])

    @override
    def from_fused(self, fused: FusedPass, *operands: Tensor) -> Tensor:
        return fused.expect(self)

    @override
    def features(self, scores: ScoreMap) -> Tensor:
        return self.values

    @override
    def reference(self, dense: DenseMap, *operands: Tensor) -> Tensor:
        return reference.expect(dense, operands[0])


@dataclass(frozen=True)
class Lse(Functional):
    """log Σ_j exp(s_ij); −∞ where a query may attend to nothing."""

    needs = frozenset({"lse"})

    @override
    def from_block(self, block: Block, *operands: Tensor) -> Tensor:
        return block.lse

    @override
    def from_fused(self, fused: FusedPass, *operands: Tensor) -> Tensor:
        return fused.lse

    @override
    def reference(self, dense: DenseMap, *operands: Tensor) -> Tensor:
        return dense.lse


@dataclass(frozen=True)
class Entropy(Functional):
    """−Σ_j p_ij·log p_ij, from p·(s − max) in blocks and from L − scale·q·(P·K) by flash."""

    needs = frozenset({"entropy"})
    cancels = True

    @override
    def from_block(self, block: Block, *operands: Tensor) -> Tensor:
        return block.log_total[..., 0] - block.mean_of(block.shifted)

    @override
    def from_fused(self, fused: FusedPass, *operands: Tensor) -> Tensor:
        return fused.entropy

    @override
    def reference(self, dense: DenseMap, *operands: Tensor) -> Tensor:
        return reference.entropy(dense)


@dataclass(frozen=True)
class LargestWeight(Functional):
    """max_j p_ij; its gradient is shared evenly among ties."""

    needs = frozenset({"largest"})

    @override
    def from_block(self, block: Block, *operands: Tensor) -> Tensor:
        return block.shifted.amax(-1).exp() / block.total[..., 0]

    @override
    def from_fused(self, fused: FusedPass, *operands: Tensor) -> Tensor:
        return fused.largest

    @override
    def reference(self, dense: DenseMap, *operands: Tensor) -> Tensor:
        return reference.largest(dense)


@dataclass(frozen=True)
class Weights(Functional):
    """p_ij, or the window of it that `queries` and `keys` cut out: rows are whole softmaxes, then cut."""

    queries: range
    keys: range

    @override
    def rows(self, scores: ScoreMap) -> range:
        return self.queries

    @override
    def allocate(self, scores: ScoreMap) -> Tensor:
        return scores.zeros(*scores.shape[:2], len(self.queries), len(self.keys))

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
