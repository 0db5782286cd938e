"""What each query of a map may attend to, without the map being computed."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from attnloss.tiles import Operand, Tile

FAR = -1e5
"""Stands for the shifted score of a masked key: exp(FAR) is exactly 0, and FAR·0 is 0 where −∞·0 were NaN."""

ALLOWED_CELLS = 1 << 22
"""Booleans held at once while queries are checked for having a key."""


@dataclass(frozen=True, eq=False)
class ScoreMap(ABC):
    """Scores of some kind, with what each query may attend to; nothing of size n·m but what was given.

    Key j is allowed to query i where the mask says so, j is within the key length, i within the query
    length and, if causal, j − key_length ≤ i − query_length: the last valid query sees up to the last valid
    key. `rank` is the rank of the request, `input_dtype` what its outputs are cast back to.
    """

    causal: bool
    mask: Bool[Tensor, "#B #H n m"] | None
    query_lengths: Int[Tensor, " B"] | None
    key_lengths: Int[Tensor, " B"] | None
    rank: int
    input_dtype: torch.dtype

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int, int, int]:
        """Of the weights: batch, heads, n, m."""

    @property
    @abstractmethod
    def key_heads(self) -> int:
        """Count of key heads; each serves heads // key heads query heads."""

    @property
    @abstractmethod
    def operands(self) -> tuple[Operand, ...]:
        """What the cells of a tile are computed from."""

    @abstractmethod
    def cells(self, cuts: Sequence[Tensor], out: Tensor | None) -> Float[Tensor, "b h r k"]:
        """Compute the scores of a tile from its cuts of the operands; what is not allowed may hold anything."""

    @property
    def dtype(self) -> torch.dtype:
        """What statistics are computed in: float32, or float64 for float64 inputs."""
        return self.operands[0].tensor.dtype

    @property
    def device(self) -> torch.device:
        """Where the operands are."""
        return self.operands[0].tensor.device

    @property
    def wants_gradient(self) -> bool:
        """Whether autograd records what is computed of the map."""
        return torch.is_grad_enabled() and any(operand.tensor.requires_grad for operand in self.operands)

    def zeros(self, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
        """Zeros on the device, in the dtype of statistics if no other is given."""
        return torch.zeros(shape, dtype=dtype or self.dtype, device=self.device)

    @property
    def bound(self) -> float:
        """An upper bound of |s_ij|, told without computing a score; infinite if there is none."""
        return math.inf

    @property
    def query_end(self) -> Int[Tensor, " B"] | int:
        """Count of valid queries, per batch entry if lengths were given."""
        return self.shape[2] if self.query_lengths is None else self.query_lengths

    @property
    def key_end(self) -> Int[Tensor, " B"] | int:
        """Count of valid keys, per batch entry if lengths were given."""
        return self.shape[3] if self.key_lengths is None else self.key_lengths

    @cached_property
    def reach(self) -> int:
        """Largest key_length − query_length: under causal no query i sees a key beyond i + reach."""
        return int(self.shift.max()) if isinstance(self.shift, Tensor) else self.shift

    @cached_property
    def shift(self) -> Int[Tensor, " B"] | int:
        """key_length − query_length, per batch entry if there are lengths: how far the ends are apart."""
        return self.key_end - self.query_end

    @cached_property
    def _last_key(self) -> int:
        return self.shape[3] if self.key_lengths is None else int(self.key_lengths.max())

    def key_stop(self, rows: slice) -> int:
        """Count of leading keys beyond which no query of the rows sees any (at least 1)."""
        stop = min(self._last_key, rows.stop + self.reach) if self.causal else self._last_key
        return max(stop, 1)

    def free_keys(self, rows: slice) -> int:
        """Count of leading keys that every query of the rows may attend to, if known at no cost."""
        if not (self.mask is None and self.query_lengths is None and self.key_lengths is None):
            return 0
        m = self.shape[3]
        return min(max(rows.start + self.reach + 1, 0), m) if self.causal else m

    def allowed(self, tile: Tile) -> Bool[Tensor, "#b #h r k"] | None:
        """Say which keys of the tile each of its queries may attend to; None where it is all of them."""
        if self.free_keys(tile.rows) >= tile.keys:
            return None
        i, j = self.positions(tile)
        mask = None if self.mask is None else tile.cut_map(self.mask)
        return self._combine(i, j, mask, tile.batch)

    def positions(self, tile: Tile) -> tuple[Int[Tensor, "r 1"], Int[Tensor, " k"]]:
        """Number the queries and the keys of a tile."""
        i = torch.arange(tile.rows.start, tile.rows.stop, device=self.device)[:, None]
        return i, torch.arange(tile.keys, device=self.device)

    def allows(self, index: Int[Tensor, "#B #H n"]) -> Bool[Tensor, "#B #H n"]:
        """Say whether each query may attend to the one key that `index` gives it."""
        return self.allows_each(index[..., None])[..., 0]

    def allows_each(self, index: Int[Tensor, "#B #H n k"]) -> Bool[Tensor, "#B #H n k"]:
        """Say which of the keys that `index` gives each query it may attend to."""
        i = torch.arange(self.shape[2], device=self.device)[:, None]
        j = index.expand(*self.shape[:3], -1) if self.mask is not None else index
        mask = None if self.mask is None else self.mask.expand(self.shape).gather(-1, j)
        return self._combine(i, j, mask, slice(None))

    def _combine(self, i: Tensor, j: Tensor, mask: Tensor | None, batch: slice) -> Tensor:
        parts = [] if mask is None else [mask]
        if self.causal:
            parts.append(j - i <= per_entry(self.shift, batch))
        if self.key_lengths is not None:
            parts.append(j < per_entry(self.key_lengths, batch))
        if self.query_lengths is not None:
            parts.append(i < per_entry(self.query_lengths, batch))
        allowed = parts[0] if parts else torch.ones_like(i + j, dtype=torch.bool)
        for part in parts[1:]:
            allowed = allowed & part
        shape = torch.broadcast_shapes(allowed.shape, (i + j).shape, (1, 1, 1, 1))  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return allowed.expand(shape)

    @cached_property
    def valid(self) -> Bool[Tensor, "#B #H n"]:
        """Which queries may attend to at least one key; the others count in no mean."""
        return self.counts > 0

    @cached_property
    def counts(self) -> Int[Tensor, "#B #H n"]:
        """How many keys each query may attend to."""
        if self.counted_by_cell:
            blocks = [self.allowed(tile) for tile in self.row_tiles()]
            return torch.cat([block.sum(-1) for block in blocks if block is not None], -1)
        i = torch.arange(self.shape[2], device=self.device).expand(1, 1, -1)
        count = torch.full_like(i, self.shape[3])
        if self.key_lengths is not None:
            count = torch.minimum(count, self.key_lengths[:, None, None])
        if self.causal:
            shift = self.shift[:, None, None] if isinstance(self.shift, Tensor) else self.shift
            count = torch.minimum(count, (i + shift + 1).clamp(min=0))
        if self.query_lengths is not None:
            count = torch.where(i < self.query_lengths[:, None, None], count, 0)
        return count

    @property
    def counted_by_cell(self) -> bool:
        """Whether only the cells tell how many keys a query may attend to."""
        return self.mask is not None

    def row_tiles(self) -> Iterator[Tile]:
        """Tiles over all batch entries, heads and keys, for work that needs `allowed` alone."""
        batch, heads, n, m = self.shape
        step = max(ALLOWED_CELLS // (batch * heads * m), 1)
        for start in range(0, n, step):
            rows = slice(start, min(start + step, n))
            yield Tile(slice(0, batch), slice(0, heads), slice(0, self.key_heads), rows, m)


def per_entry(lengths: Tensor | int, batch: slice) -> Tensor | int:
    """Lengths [B] of some batch entries against a map [b, h, r, k]."""
    return lengths[batch, None, None, None] if isinstance(lengths, Tensor) else lengths
