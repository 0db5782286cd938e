"""Statistics that grow as the vocabulary goes by, block after block."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from attnloss.language.logits import Source

FAR = -1e30
"""Stands for −∞ where 0·−∞ would make a NaN."""


class Running:
    """What is known of every token after some blocks; sums are relative to the largest logit so far.

    sum: Σ exp(l − peak); moment: Σ exp(l − peak)·(l − peak); total: Σ (l − peak)
    """

    def __init__(self, source: Source, picks: Int[Tensor, "t g"], *, total: bool, entropy: bool, top: int) -> None:
        tokens, self.vocabulary = source.shape
        start = source.first.new_zeros(tokens, dtype=source.dtype)
        self.picks = picks
        self.peak = start - torch.finfo(source.dtype).max / 4
        self.sum = start
        self.picked = start[:, None].repeat(1, picks.shape[1])
        self.total = start.clone() if total else None
        self.moment = start.clone() if entropy else None
        self.top = start.new_empty(tokens, top) if top else None
        self.top_index = picks.new_empty(tokens, top) if top else None

    def add(self, rows: slice, start: int, tile: Float[Tensor, "r c"]) -> None:
        """Take in a tile, which begins at column `start`; overwrites it."""
        self._pick(rows, start, tile)
        if self.top is not None and self.top_index is not None:
            self._rank(rows, start, tile, self.top, self.top_index)
        peak = torch.maximum(self.peak[rows], tile.amax(-1))
        shift = self.peak[rows] - peak
        scale = shift.exp()
        tile.sub_(peak[:, None])
        if self.total is not None:
            self.total[rows] += torch.where(shift < 0, start * shift, 0.0) + tile.sum(-1)
        if self.moment is None:
            tile.exp_()
        else:
            shifted = tile.clamp(min=FAR)
            fresh = shifted.mul_(tile.exp_()).sum(-1)
            self.moment[rows] = scale * (self.moment[rows] + self.sum[rows] * shift) + fresh
        self.sum[rows] = self.sum[rows] * scale + tile.sum(-1)
        self.peak[rows] = peak

    def _pick(self, rows: slice, start: int, tile: Tensor) -> None:
        place = self.picks[rows] - start
        inside = (place >= 0) & (place < tile.shape[1])
        found = tile.gather(1, place.clamp(0, tile.shape[1] - 1))
        self.picked[rows] = torch.where(inside, found, self.picked[rows])

    def _rank(self, rows: slice, start: int, tile: Tensor, top: Tensor, top_index: Tensor) -> None:
        """Merge the best of a tile into the best so far, which stand first: a stable sort lets the lower index win."""
        count, known = top.shape[1], min(start, top.shape[1])
        value, index = best(tile, count)
        values, order = torch.cat([top[rows, :known], value], 1).sort(dim=1, descending=True, stable=True)
        indices = torch.cat([top_index[rows, :known], index + start], 1).gather(1, order)
        found = min(count, values.shape[1])
        top[rows, :found], top_index[rows, :found] = values[:, :found], indices[:, :found]

    @property
    def log_sum(self) -> Float[Tensor, " t"]:
        """Lse − peak: kept apart, since a large peak would swallow its digits."""
        return self.sum.log()

    def results(self) -> tuple[Tensor | None, ...]:
        """Give the fields of `Statistics`."""
        log_sum = self.log_sum
        picked = (self.picked - self.peak[:, None]) - log_sum[:, None]
        total = None if self.total is None else self.total - self.vocabulary * log_sum
        entropy = None if self.moment is None else (log_sum - self.moment / self.sum).clamp(min=0)
        top = None if self.top is None else (self.top - self.peak[:, None]) - log_sum[:, None]
        return self.peak + log_sum, picked, total, entropy, top, self.top_index


def best(tile: Float[Tensor, "r c"], count: int) -> tuple[Tensor, Tensor]:
    """Rank the columns of a tile: by topk, and where it leaves the order of ties open by a stable sort."""
    value, index = tile.topk(min(count + 1, tile.shape[1]), 1)
    tied = (value[:, 1:] == value[:, :-1]).any(1)
    if bool(tied.any()):
        ordered = tile[tied].sort(dim=1, descending=True, stable=True)
        value[tied], index[tied] = (part[:, : value.shape[1]] for part in ordered)
    return value[:, :count], index[:, :count]
