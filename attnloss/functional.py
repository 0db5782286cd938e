"""A per-query functional: what one pass over the score map can compute, be it a statistic or a loss."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from attnloss.block import Block
from attnloss.flash import FlashPass
from attnloss.reference import DenseMap
from attnloss.scores import Scores
from attnloss.tiles import Tile


@dataclass(frozen=True, eq=False)
class Operand:
    """A tensor in rank 4 that a functional reads beside the scores, and which axes it shares with them.

    "query": [B, H, n, ...], "key": [B, Hkv, m, ...], "map": [B, H, n, m]; batch and heads may have size 1.
    The pass cuts operands to the tile, and gradients flow back to them.
    """

    tensor: Tensor
    axes: Literal["query", "key", "map"]

    def cut(self, tile: Tile, tensor: Tensor | None = None) -> Tensor:
        """Cut the tile's part out of the operand, or out of another tensor of its shape, as a view."""
        whole = self.tensor if tensor is None else tensor
        cutters = {"query": tile.cut_query, "key": tile.cut_key, "map": tile.cut_map}
        return cutters[self.axes](whole)


class Functional(ABC):
    """One value per query [B, H, n] unless `allocate` and `slot` say otherwise.

    Several functionals of one request share a pass, so none may depend on another batch entry.
    """

    flash: ClassVar[Literal["features", "lse"] | None] = None
    """What a flash pass must give: the expectation of features, the lse alone, or there is no flash form."""
    cancels: ClassVar[bool] = False
    """Whether the flash form is a difference that loses digits where scores are large."""
    accumulates: ClassVar[bool] = False
    """Whether tiles add up in their slot instead of filling it."""

    @property
    def operands(self) -> tuple[Operand, ...]:
        """What is read beside the scores, in the order in which the computing methods take it."""
        return ()

    def rows(self, scores: Scores) -> range:
        """Say which queries' scores are needed."""
        return range(scores.shape[2])

    def allocate(self, scores: Scores) -> Tensor:
        """Make the zeros that the pass fills."""
        return scores.query.new_zeros(scores.shape[:3])

    def slot(self, result: Tensor, tile: Tile) -> Tensor:
        """Cut out the part of the result that the tile fills, as a view."""
        return tile.cut_query(result)

    @abstractmethod
    def from_block(self, block: Block, *operands: Tensor) -> Tensor:
        """Compute the slot of the block's tile; operands are cut to it."""

    def from_flash(self, flash: FlashPass, *operands: Tensor) -> Tensor:
        """Compute all of it from flash passes, if `flash` says that there is a way."""
        raise NotImplementedError(f"{type(self).__name__} has no flash form")

    @abstractmethod
    def reference(self, dense: DenseMap, *operands: Tensor) -> Tensor:
        """Compute all of it by the reference twin, operands in float64."""
