"""A rectangle of the score map, and the tensors that are cut to it."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor


@dataclass(frozen=True)
class Tile:
    """Some batch entries, query heads (and the key heads they share), queries, and the leading keys."""

    batch: slice
    heads: slice
    key_heads: slice
    rows: slice
    keys: int

    def cut_query(self, tensor: Tensor) -> Tensor:
        """Cut what has a row per query: [B, H, n, ...], batch and heads possibly of size 1."""
        return tensor[_axis(tensor, 0, self.batch), _axis(tensor, 1, self.heads), self.rows]

    def cut_key(self, tensor: Tensor) -> Tensor:
        """Cut what has a row per key: [B, Hkv, m, ...]."""
        return tensor[_axis(tensor, 0, self.batch), _axis(tensor, 1, self.key_heads), : self.keys]

    def cut_head_key(self, tensor: Tensor) -> Tensor:
        """Cut what has a row per query head and key: [B, H, m, ...]."""
        return tensor[_axis(tensor, 0, self.batch), _axis(tensor, 1, self.heads), : self.keys]

    def cut_map(self, tensor: Tensor) -> Tensor:
        """Cut what has a cell per query and key: [B, H, n, m], batch and heads possibly of size 1."""
        return self.cut_query(tensor)[..., : self.keys]


@dataclass(frozen=True, eq=False)
class Operand:
    """A tensor in rank 4 that a pass reads, and which axes it shares with the map.

    "query": [B, H, n, ...], "key": [B, Hkv, m, ...], "head_key": [B, H, m, ...], "map": [B, H, n, m]; batch
    and heads may have size 1. The pass cuts operands to the tile, and gradients flow back to them.
    """

    tensor: Tensor
    axes: Literal["query", "key", "head_key", "map"]

    def cut(self, tile: Tile, tensor: Tensor | None = None) -> Tensor:
        """Cut the tile's part out of the operand, or out of another tensor of its shape, as a view."""
        whole = self.tensor if tensor is None else tensor
        cutters = {
            "query": tile.cut_query,
            "key": tile.cut_key,
            "head_key": tile.cut_head_key,
            "map": tile.cut_map,
        }
        return cutters[self.axes](whole)


def _axis(tensor: Tensor, axis: int, part: slice) -> slice:
    return slice(None) if tensor.shape[axis] == 1 else part
