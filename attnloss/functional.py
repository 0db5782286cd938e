"""A functional of the map: what one pass over the scores can compute, be it a statistic or part of a loss."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor

from attnloss.block import Block
from attnloss.fused import FusedPass
from attnloss.reference import DenseMap
from attnloss.score_map import ScoreMap
from attnloss.tiles import Operand, Tile

__all__ = ["Carried", "Functional", "Operand", "State"]

State = tuple[Tensor, ...]


class Functional(ABC):
    """One value per query [B, H, n] unless `allocate` and `slot` say otherwise.

    Several functionals of one request share a pass, so none may depend on another batch entry. Those that
    are equal are computed once; one that holds tensors equals only itself.
    """

    needs: ClassVar[frozenset[str] | None] = None
    """What a fused pass must provide (names of `FusedPass`); None where there is only the way by tiles."""
    cancels: ClassVar[bool] = False
    """Whether the fused form takes differences with the lse, which lose digits where scores are large."""
    accumulates: ClassVar[bool] = False
    """Whether tiles add up in their slot instead of filling it."""
    whole_heads: ClassVar[bool] = False
    """Whether a tile must hold all heads of its batch entries."""

    @property
    def operands(self) -> tuple[Operand, ...]:
        """What is read beside the scores, in the order in which the computing methods take it."""
        return ()

    def rows(self, scores: ScoreMap) -> range:
        """Say which queries' scores are needed."""
        return range(scores.shape[2])

    def allocate(self, scores: ScoreMap) -> Tensor:
        """Make the zeros that the pass fills."""
        return scores.zeros(*scores.shape[:3])

    def slot(self, result: Tensor, tile: Tile) -> Tensor:
        """Cut out the part of the result that the tile fills, as a view."""
        return tile.cut_query(result)

    def shortcut(self, scores: ScoreMap, *operands: Tensor) -> Tensor | None:
        """Compute all of it without the map, if there is such a way for these scores."""
        return None

    @abstractmethod
    def from_block(self, block: Block, *operands: Tensor) -> Tensor:
        """Compute the slot of the block's tile; operands are cut to it."""

    @property
    def top_count(self) -> int:
        """How many of the strongest keys of each query the fused form reads."""
        return 0

    def score_bound(self, scores: ScoreMap) -> float:
        """Bound the |scores| that it reads from above."""
        return scores.bound

    def features(self, scores: ScoreMap) -> Tensor | None:
        """Give the features [B, Hkv, m, f] whose expectation the fused form reads."""
        return None

    def from_fused(self, fused: FusedPass, *operands: Tensor) -> Tensor:
        """Compute all of it from a fused pass, if `needs` says that there is a way."""
        raise NotImplementedError(f"{type(self).__name__} has no fused form")

    @abstractmethod
    def reference(self, dense: DenseMap, *operands: Tensor) -> Tensor:
        """Compute all of it by the reference twin, operands in float64."""


class Carried(Functional):
    """A functional whose later queries need a state that the earlier ones leave; tiles come in their order."""

    @abstractmethod
    def start(self, scores: ScoreMap, tile: Tile) -> State:
        """Give the state before the first query, for the batch entries and heads of the tile."""

    @abstractmethod
    def advance(self, block: Block, state: State, *operands: Tensor) -> tuple[Tensor, State]:
        """Compute the slot of the block's tile and the state after it."""

    def from_block(self, block: Block, *operands: Tensor) -> Tensor:
        """Compute a tile that is the first."""
        return self.advance(block, self.start(block.scores, block.tile), *operands)[0]
