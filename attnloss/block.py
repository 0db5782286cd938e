"""One tile of the score map, computed: what every per-query functional reads."""

from collections.abc import Callable
from functools import cached_property
from typing import TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from attnloss.scores import Scores
from attnloss.tiles import Tile
from attnloss.workspace import Workspace

FAR = -1e5
"""Stands for the shifted score of a masked key: exp(FAR) is exactly 0, and FAR·0 is 0 where −∞·0 were NaN."""

_T = TypeVar("_T")


def grouped_matmul(
    left: Float[Tensor, "b h r x"], right: Float[Tensor, "b hkv x y"], out: Tensor | None = None
) -> Float[Tensor, "b h r y"]:
    """Multiply where each key head serves heads // key heads query heads, without repeating it."""
    batch, heads, rows, inner = left.shape
    key_heads = right.shape[1]
    if heads == key_heads:
        return torch.matmul(left, right, out=out)
    folded = (batch, key_heads, heads // key_heads * rows)
    product = torch.matmul(left.reshape(*folded, inner), right, out=None if out is None else out.view(*folded, -1))
    return product.view(batch, heads, rows, right.shape[3])


class Block:
    """Scores of a tile, shifted so that the largest of each query is 0; the rest is computed once, if asked.

    A fully masked query has weights 0, log total 0 and lse −∞, so that sums over its keys come out 0.
    """

    def __init__(
        self, scores: Scores, tile: Tile, query: Tensor, key: Tensor, workspace: Workspace | None = None
    ) -> None:
        """Compute the scores of the tile from its query [b, h, r, d] and key [b, hkv, k, d]."""
        self.scores = scores
        self.tile = tile
        self.query = query
        self.key = key
        self.allowed: Bool[Tensor, "#b #h r k"] | None = scores.allowed(tile)
        self.empty: Bool[Tensor, "#b #h r 1"] | None = None
        self._shared: dict[str, object] = {}
        self._workspace = Workspace() if workspace is None else workspace
        cells = self._workspace.take("scores", (*query.shape[:3], key.shape[2]), query)
        shifted = grouped_matmul(query * scores.scale, key.mT, cells)
        self.shifted: Float[Tensor, "b h r k"]
        self.largest: Float[Tensor, "b h r 1"]
        if self.allowed is None:
            self.largest = shifted.detach().amax(-1, keepdim=True)
            self.shifted = shifted.sub_(self.largest)
        else:
            self._shift_masked(shifted, ~self.allowed, scores.free_keys(tile.rows))

    def _shift_masked(self, scores: Tensor, denied: Tensor, free: int) -> None:
        band = slice(free, None)
        scores[..., band].masked_fill_(denied[..., band], -torch.inf)
        largest = scores.detach().amax(-1, keepdim=True)
        if free == 0:
            self.empty = denied.all(-1, keepdim=True)
            largest.masked_fill_(self.empty, 0.0)
        self.largest = largest
        scores.sub_(largest)
        scores[..., band].masked_fill_(denied[..., band], FAR)
        self.shifted = scores

    @cached_property
    def exp(self) -> Float[Tensor, "b h r k"]:
        """Exponentials of `shifted`; exactly 0 at masked keys."""
        return torch.exp(self.shifted, out=self._cells("exp"))

    @cached_property
    def total(self) -> Float[Tensor, "b h r 1"]:
        """Σ_j exp(s_ij − largest_i): at least 1, the largest being among them; 1 for a fully masked query."""
        return self.exp.sum(-1, keepdim=True).clamp(min=1.0)

    @cached_property
    def log_total(self) -> Float[Tensor, "b h r 1"]:
        """Logarithm of `total`."""
        return self.total.log()

    @cached_property
    def weights(self) -> Float[Tensor, "b h r k"]:
        """p_ij; 0 at masked keys."""
        return torch.div(self.exp, self.total, out=self._cells("weights"))

    @cached_property
    def lse(self) -> Float[Tensor, "b h r"]:
        """The log-sum-exp, log Σ_j exp(s_ij); −∞ for a fully masked query."""
        lse = self.largest + self.log_total
        return (lse if self.empty is None else lse.masked_fill(self.empty, -torch.inf))[..., 0]

    def mean_of(self, cells: Float[Tensor, "#b #h r k"]) -> Float[Tensor, "b h r"]:
        """Σ_j p_ij·x_ij for one x per cell."""
        weighted = torch.mul(self.exp, cells, out=self._cells("weighted"))
        return weighted.sum(-1) / self.total[..., 0]

    def expect(self, features: Float[Tensor, "b hkv k f"]) -> Float[Tensor, "b h r f"]:
        """Σ_j p_ij·x_j for one x per key."""
        return grouped_matmul(self.exp, features) / self.total

    def _cells(self, name: str) -> Tensor | None:
        return self._workspace.take(name, tuple(self.shifted.shape), self.shifted)

    def shared(self, name: str, compute: Callable[[], _T]) -> _T:
        """Compute once what several functionals of one pass need."""
        if name not in self._shared:
            self._shared[name] = compute()
        return self._shared[name]  # type: ignore[return-value]  # the name decides the type
