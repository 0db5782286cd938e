"""One tile of the score map, computed: what every per-query functional reads."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from attnloss.score_map import FAR, ScoreMap
from attnloss.scores import grouped_matmul
from attnloss.tiles import Tile
from attnloss.workspace import Workspace

_T = TypeVar("_T")


class Block:
    """Scores of a tile, shifted so that the largest of each query is 0; the rest is computed once, if asked.

    A fully masked query has weights 0, log total 0 and lse −∞, so that sums over its keys come out 0.
    """

    def __init__(
        self,
        scores: ScoreMap,
        tile: Tile,
        cuts: Sequence[Tensor],
        workspace: Workspace | None = None,
        *,
        name: str = "",
    ) -> None:
        """Compute the scores of the tile from the cuts of their operands; `name` is where buffers are kept."""
        self.scores = scores
        self.tile = tile
        self.allowed: Bool[Tensor, "#b #h r k"] | None = scores.allowed(tile)
        self.empty: Bool[Tensor, "#b #h r 1"] | None = None
        self._shared: dict[object, object] = {}
        self._workspace = Workspace() if workspace is None else workspace
        self._name = name
        cells = self._workspace.take(f"{name}scores", _size(scores, tile), cuts[0])
        shifted = scores.cells(cuts, cells)
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
        self.exp = torch.exp(scores, out=self._cells("exp", scores))  # of −∞ it is three times as fast as of FAR
        scores[..., band].masked_fill_(denied[..., band], FAR)
        self.shifted = scores

    @cached_property
    def exp(self) -> Float[Tensor, "b h r k"]:
        """Exponentials of `shifted`; exactly 0 at masked keys."""
        return torch.exp(self.shifted, out=self._cells("exp", self.shifted))

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
        return torch.div(self.exp, self.total, out=self._cells("weights", self.shifted))

    @cached_property
    def log_weights(self) -> Float[Tensor, "b h r k"]:
        """Log p_ij; about FAR at masked keys."""
        return torch.sub(self.shifted, self.log_total, out=self._cells("log weights", self.shifted))

    @cached_property
    def lse(self) -> Float[Tensor, "b h r"]:
        """The log-sum-exp, log Σ_j exp(s_ij); −∞ for a fully masked query."""
        lse = self.largest + self.log_total
        return (lse if self.empty is None else lse.masked_fill(self.empty, -torch.inf))[..., 0]

    def mean_of(self, cells: Float[Tensor, "#b #h r k"]) -> Float[Tensor, "b h r"]:
        """Σ_j p_ij·x_ij for one x per cell."""
        weighted = torch.mul(self.exp, cells, out=self._cells("weighted", self.shifted))
        return weighted.sum(-1) / self.total[..., 0]

    def expect(self, features: Float[Tensor, "b hkv k f"]) -> Float[Tensor, "b h r f"]:
        """Σ_j p_ij·x_j for one x per key."""
        return grouped_matmul(self.exp, features) / self.total

    def keep(self, cells: Float[Tensor, "#b #h r k"]) -> Float[Tensor, "#b #h r k"]:
        """Cells with 0 at masked keys."""
        return cells if self.allowed is None else torch.where(self.allowed, cells, 0.0)

    def other(self, scores: ScoreMap, cuts: Sequence[Tensor]) -> "Block":
        """The same tile of a second map; computed once for all that read it."""

        def compute() -> Block:
            name = f"{self._name}other {len(self._shared)} "
            return Block(scores, self.tile, cuts, self._workspace, name=name)

        return self.shared(scores, compute)

    def _cells(self, name: str, like: Tensor) -> Tensor | None:
        return self._workspace.take(self._name + name, tuple(like.shape), like)

    def shared(self, key: object, compute: Callable[[], _T]) -> _T:
        """Compute once what several functionals of one pass need."""
        if key not in self._shared:
            self._shared[key] = compute()
        return self._shared[key]  # type: ignore[return-value]  # the key decides the type


def _size(scores: ScoreMap, tile: Tile) -> tuple[int, int, int, int]:
    batch, heads = (part.stop - part.start for part in (tile.batch, tile.heads))
    return batch, heads, tile.rows.stop - tile.rows.start, tile.keys
