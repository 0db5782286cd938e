"""Mean squared difference of the scores of two maps, before the softmax.

    loss_i = (1/M_i)·Σ_j (s_ij − t_ij)²

    s_ij, t_ij: scores of key j for query i in the request's map and in the other; M_i: count of allowed keys

Without a mask it needs no pass over the map: with x_i = [scale1·q_i | −scale2·q2_i] and y_j = [k_j | k2_j],
Σ_j (s_ij − t_ij)² = x_iᵀ·(Σ_j y_j·y_jᵀ)·x_i. Where the maps are close this is a difference of large numbers, and
computed in float64.

`compat="tinybert"` is the attention loss of Jiao et al. 2020, TinyBERT: scores ≤ −100 count as 0, as masked ones
do there, and the mean is over all cells of the batch, padding included.
"""

from dataclasses import dataclass
from typing import Unpack, cast

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from attnloss import checks, reference
from attnloss.block import Block
from attnloss.errors import FieldError
from attnloss.functional import Functional, Operand
from attnloss.loss import Loss, mean_over_cells
from attnloss.losses.pair import second
from attnloss.losses.public import compute_pair, loss_function
from attnloss.options import LossOptions
from attnloss.reference import DenseMap
from attnloss.score_map import ScoreMap
from attnloss.scores import Scores, per_query_head

GRAM_NUMBERS = 1 << 22
"""Numbers of queries and keys taken at once: some heads, so that each core has one and copies stay small."""

LEAST_SHARE = 1 / 16
"""Of Σ s² + Σ t²: what float32 must leave of it, or float64 computes the difference again."""

TINYBERT_MASKED = -100.0
"""Scores up to this are taken for masked by TinyBERT's code."""


@dataclass(frozen=True, eq=False)
class ScoreSquares(Functional):
    """Σ_j (s_ij − t_ij)² over the allowed keys."""

    other: ScoreMap
    floor: float | None = None

    @property
    @override
    def operands(self) -> tuple[Operand, ...]:
        return self.other.operands

    @override
    def shortcut(self, scores: ScoreMap, *operands: Tensor) -> Tensor | None:
        """Take the Gram matrix of the keys where every query sees the same keys."""
        if self.floor is not None or scores.mask is not None or scores.causal or scores.query_lengths is not None:
            return None
        maps = cast("Scores", scores), cast("Scores", self.other)
        if scores.dtype == torch.float32:
            squares, size = _by_gram(maps, torch.float32)
            if bool((squares >= LEAST_SHARE * size).all()):
                return squares
        return _by_gram(maps, torch.float64)[0].clamp(min=0.0).to(scores.dtype)

    @override
    def from_block(self, block: Block, *operands: Tensor) -> Tensor:
        other = block.other(self.other, operands)
        if self.floor is None:
            difference = (block.shifted - other.shifted) + (block.largest - other.largest)
        else:
            difference = self._floored(block.shifted + block.largest) - self._floored(other.shifted + other.largest)
        return block.keep(difference).square().sum(-1)

    def _floored(self, scores: Tensor) -> Tensor:
        return scores if self.floor is None else torch.where(scores <= self.floor, 0.0, scores)

    @override
    def reference(self, dense: DenseMap, *operands: Tensor) -> Tensor:
        difference = self._floored(dense.logits) - self._floored(reference.dense(self.other).logits)
        return (difference * dense.allowed).square().sum(-1)


def _by_gram(maps: tuple[Scores, Scores], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Compute Σ_j (s − t)² and Σ_j s² + Σ_j t² [B, H, n], some heads at a time."""
    scores = maps[0]
    batch, heads, n, m = scores.shape
    step = max(GRAM_NUMBERS // ((n + m) * sum(each.query.shape[3] for each in maps)), 1)
    sides = [(each.query.flatten(0, 1), each.scale, per_query_head(each.key, heads).flatten(0, 1)) for each in maps]
    kept = None
    if scores.key_lengths is not None:
        ends = scores.key_lengths.repeat_interleave(heads)
        kept = torch.arange(m, device=scores.device) < ends[:, None]
    parts = []
    for start in range(0, batch * heads, step):
        some = slice(start, start + step)
        cut = [(query[some].to(dtype) * scale, key[some].to(dtype)) for query, scale, key in sides]
        if kept is not None:
            cut = [(query, key * kept[some, :, None]) for query, key in cut]
        parts.append(_squares(*cut[0], *cut[1]))
    squares, sizes = (torch.cat(found).view(batch, heads, n) for found in zip(*parts, strict=True))
    return squares, sizes


def _squares(
    a: Float[Tensor, "h n d"], k: Float[Tensor, "h m d"], b: Float[Tensor, "h n d2"], r: Float[Tensor, "h m d2"]
) -> tuple[Float[Tensor, "h n"], Float[Tensor, "h n"]]:
    """Compute Σ_j (a·k − b·r)² by the blocks of the Gram matrix of [k | r], and the sum of its squares alone."""
    own = torch.linalg.vecdot(a @ (k.mT @ k), a) + torch.linalg.vecdot(b @ (r.mT @ r), b)
    return own - 2 * torch.linalg.vecdot(b @ (r.mT @ k), a), own


def build(scores: ScoreMap, *, other: ScoreMap | None = None, compat: str | None = None) -> Loss:
    """Validate the parameters and build the loss."""
    other = second(other, "score_mse")
    if not (isinstance(scores, Scores) and isinstance(other, Scores)):
        raise FieldError("weights", (), "score_mse compares scores, which weights do not tell")
    if checks.compat(compat, "tinybert"):
        return Loss.of(ScoreSquares(other, TINYBERT_MASKED), mean_over_cells)
    return Loss({"squares": ScoreSquares(other)}, lambda parts: parts["squares"] / scores.counts.clamp(min=1))


@loss_function(build)
def score_mse(
    query: Float[Tensor, "*batch n d"],
    key: Float[Tensor, "*key_batch m d"],
    other_query: Float[Tensor, "*batch n d2"],
    other_key: Float[Tensor, "*other_key_batch m d2"],
    *,
    other_scale: float | None = None,
    compat: str | None = None,
    **options: Unpack[LossOptions],
) -> Float[Tensor, "*reduced"]:
    """Squared difference of scale·QKᵀ and the other map's scores, mean over allowed keys, per query, reduced.

    The second map has its own head dim and key heads, and shares mask, causal and lengths. `compat` is None
    or "tinybert". `options` are those of `entropy`; backend auto uses the Gram matrix of the keys, and the
    answer says "gram", where no mask, causal or query length stands against it.
    """
    maps = (query, key, other_query, other_key)
    return compute_pair(maps, other_scale, build, {"compat": compat}, **options)
