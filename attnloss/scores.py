"""The scaled score map of a request, described without being computed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from attnloss import checks, ranks
from attnloss.tiles import Tile

ALLOWED_CELLS = 1 << 22
"""Booleans held at once while queries are checked for having a key."""


@dataclass(frozen=True, eq=False)
class Scores:
    """s_ij = scale·q_i·k_j with what each query may attend to; nothing of size n·m but a mask that was given.

    Key j is allowed to query i where the mask says so, j is within the key length, i within the query
    length and, if causal, j − key_length ≤ i − query_length: the last valid query sees up to the last valid
    key. `rank` is the rank of the request, `input_dtype` what its outputs are cast back to.
    """

    query: Float[Tensor, "B H n d"]
    key: Float[Tensor, "B Hkv m d"]
    scale: float
    causal: bool
    mask: Bool[Tensor, "#B #H n m"] | None
    query_lengths: Int[Tensor, " B"] | None
    key_lengths: Int[Tensor, " B"] | None
    rank: int
    input_dtype: torch.dtype

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of the weights: batch, heads, n, m."""
        batch, heads, n, _ = self.query.shape
        return batch, heads, n, self.key.shape[2]

    @property
    def dtype(self) -> torch.dtype:
        """What statistics are computed in: float32, or float64 for float64 inputs."""
        return self.query.dtype

    @cached_property
    def reach(self) -> int:
        """Largest key_length − query_length: under causal no query i sees a key beyond i + reach."""
        return int(self._shift.max()) if isinstance(self._shift, Tensor) else self._shift

    @cached_property
    def _shift(self) -> Tensor | int:
        n, m = self.shape[2:]
        key_end = m if self.key_lengths is None else self.key_lengths
        query_end = n if self.query_lengths is None else self.query_lengths
        return key_end - query_end

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
        device = self.query.device
        i = torch.arange(tile.rows.start, tile.rows.stop, device=device)[:, None]
        j = torch.arange(tile.keys, device=device)
        mask = None if self.mask is None else tile.cut_map(self.mask)
        return self._combine(i, j, mask, tile.batch)

    def allows(self, index: Int[Tensor, "B H n"]) -> Bool[Tensor, "#B #H n"]:
        """Say whether each query may attend to the one key that `index` gives it."""
        i = torch.arange(self.shape[2], device=self.query.device)[:, None]
        j = index[..., None]
        mask = None if self.mask is None else self.mask.expand(self.shape).gather(-1, j)
        return self._combine(i, j, mask, slice(None))[..., 0]

    def _combine(self, i: Tensor, j: Tensor, mask: Tensor | None, batch: slice) -> Tensor:
        def per_entry(lengths: Tensor | int) -> Tensor | int:
            return lengths[batch, None, None, None] if isinstance(lengths, Tensor) else lengths

        parts = [] if mask is None else [mask]
        if self.causal:
            parts.append(j - i <= per_entry(self._shift))
        if self.key_lengths is not None:
            parts.append(j < per_entry(self.key_lengths))
        if self.query_lengths is not None:
            parts.append(i < per_entry(self.query_lengths))
        allowed = parts[0] if parts else torch.ones_like(i + j, dtype=torch.bool)
        for part in parts[1:]:
            allowed = allowed & part
        shape = torch.broadcast_shapes(allowed.shape, (i + j).shape, (1, 1, 1, 1))  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return allowed.expand(shape)

    @cached_property
    def valid(self) -> Bool[Tensor, "#B #H n"]:
        """Which queries may attend to at least one key; the others count in no mean."""
        if self.mask is not None:
            blocks = [self.allowed(tile) for tile in self.row_tiles()]
            return torch.cat([block.any(-1) for block in blocks if block is not None], -1)
        i = torch.arange(self.shape[2], device=self.query.device).expand(1, 1, -1)
        valid = i >= 0
        if self.query_lengths is not None:
            valid = valid & (i < self.query_lengths[:, None, None])
        if self.key_lengths is not None:
            valid = valid & (self.key_lengths[:, None, None] > 0)
        if self.causal:
            shift = self._shift[:, None, None] if isinstance(self._shift, Tensor) else self._shift
            valid = valid & (i + shift >= 0)
        return valid

    def row_tiles(self) -> Iterator[Tile]:
        """Tiles over all batch entries, heads and keys, for work that needs `allowed` alone."""
        batch, heads, n, m = self.shape
        step = max(ALLOWED_CELLS // (batch * heads * m), 1)
        for start in range(0, n, step):
            rows = slice(start, min(start + step, n))
            yield Tile(slice(0, batch), slice(0, heads), slice(0, self.key.shape[1]), rows, m)


def make_scores(
    query: Float[Tensor, "*batch n d"],
    key: Float[Tensor, "*key_batch m d"],
    *,
    causal: bool = False,
    mask: Bool[Tensor, "..."] | None = None,
    key_lengths: Tensor | Sequence[int] | int | None = None,
    query_lengths: Tensor | Sequence[int] | int | None = None,
    scale: float | None = None,
) -> Scores:
    """Validate a request of rank 2 [n, d], 3 [batch, n, d] or 4 [batch, heads, n, d] and describe its scores.

    Key heads may divide query heads. float16 and bfloat16 are computed in float32. Scores beyond the range
    of that type are not an error: they leave inf or NaN in what is computed from them.

    Raises FieldError (a ValueError) that names the argument and states what was expected and what came.
    """
    checks.inputs(query, key)
    rank = query.ndim
    compute = torch.float64 if query.dtype == torch.float64 else torch.float32
    lifted_query, lifted_key = ranks.lift(query, rank), ranks.lift(key, rank)
    batch, heads, n, width = lifted_query.shape
    m = lifted_key.shape[2]
    if mask is not None:
        checks.boolean(mask)
        mask = ranks.lift_like(mask, "mask", rank, (batch, heads, n, m), loose=(0, 1, 2, 3))
        mask = mask.to(query.device).expand(-1, -1, n, m)
    return Scores(
        query=lifted_query.to(compute),
        key=lifted_key.to(compute),
        scale=width**-0.5 if scale is None else checks.finite(scale),
        causal=causal,
        mask=mask,
        query_lengths=checks.lengths("query_lengths", query_lengths, batch, n, query.device),
        key_lengths=checks.lengths("key_lengths", key_lengths, batch, m, query.device),
        rank=rank,
        input_dtype=query.dtype,
    )
