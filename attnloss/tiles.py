"""A rectangle of the score map."""

from dataclasses import dataclass

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

    def cut_map(self, tensor: Tensor) -> Tensor:
        """Cut what has a cell per query and key: [B, H, n, m], batch and heads possibly of size 1."""
        return self.cut_query(tensor)[..., : self.keys]


def _axis(tensor: Tensor, axis: int, part: slice) -> slice:
    return slice(None) if tensor.shape[axis] == 1 else part
