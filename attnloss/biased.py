"""Scores with something between the product and the softmax: a cap, a bias per cell."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from typing_extensions import override

from attnloss.score_map import ScoreMap
from attnloss.scores import Scores, grouped_matmul
from attnloss.tiles import Operand


@dataclass(frozen=True, eq=False)
class BiasedScores(ScoreMap):
    """s_ij = softcap·tanh(scale·q_i·k_j / softcap) + bias_ij; the cap is left out where it is None.

    The bias is the position bias of T5 (Raffel et al. 2020), or any additive mask; the cap is that of Gemma 2
    (Gemma Team 2024). Gradients flow to both factors and to the bias. It is computed by chunks or the reference.
    """

    query: Float[Tensor, "B H n d"]
    key: Float[Tensor, "B Hkv m d"]
    scale: float
    bias: Float[Tensor, "#B #H n m"] | None = None
    softcap: float | None = None

    @property
    @override
    def shape(self) -> tuple[int, int, int, int]:
        batch, heads, n, _ = self.query.shape
        return batch, heads, n, self.key.shape[2]

    @property
    @override
    def key_heads(self) -> int:
        return self.key.shape[1]

    @property
    @override
    def operands(self) -> tuple[Operand, ...]:
        factors = Operand(self.query, "query"), Operand(self.key, "key")
        return factors if self.bias is None else (*factors, Operand(self.bias, "map"))

    @cached_property
    @override
    def bound(self) -> float:
        """The cap, or |scale|·max‖q‖·max‖k‖ if less, and the largest |bias|."""
        with torch.no_grad():
            lengths = [torch.linalg.vector_norm(factor, dim=-1).max() for factor in (self.query, self.key)]
            product = abs(self.scale) * float(lengths[0] * lengths[1])
            capped = product if self.softcap is None else min(product, self.softcap)
            return capped + (0.0 if self.bias is None else float(self.bias.abs().max()))

    @override
    def cells(self, cuts: Sequence[Tensor], out: Tensor | None) -> Tensor:
        cells = grouped_matmul(cuts[0] * self.scale, cuts[1].mT, out)
        if self.softcap is not None:
            if out is None:
                cells = self.softcap * torch.tanh(cells / self.softcap)
            else:
                cells.div_(self.softcap).tanh_().mul_(self.softcap)
        if len(cuts) == 2:
            return cells
        return cells + cuts[2] if out is None else cells.add_(cuts[2])


def make_biased(
    scores: Scores, *, bias: Float[Tensor, "#B #H #n m"] | None = None, softcap: float | None = None
) -> BiasedScores:
    """Add a finite bias, of size 1 where it is the same for all, and a cap to scores already described."""
    n, m = scores.shape[2:]
    return BiasedScores(
        query=scores.query,
        key=scores.key,
        scale=scores.scale,
        bias=None if bias is None else bias.to(scores.dtype).expand(-1, -1, n, m),
        softcap=softcap,
        causal=scores.causal,
        mask=scores.mask,
        query_lengths=scores.query_lengths,
        key_lengths=scores.key_lengths,
        rank=scores.rank,
        input_dtype=scores.input_dtype,
    )


def split_additive(
    mask: Float[Tensor, "#B #H #n m"],
) -> tuple[Bool[Tensor, "#B #H #n m"] | None, Float[Tensor, "#B #H #n m"] | None]:
    """Split an additive mask into the keys it allows and the bias it gives them; None where it has no such part.

    What is below half the least number of its dtype is denied: codebases add −∞ or that least number.
    """
    allowed = mask.detach() > torch.finfo(mask.dtype).min / 2
    kept = mask.masked_fill(~allowed, 0.0)
    learned = kept.requires_grad
    bias = kept if learned or bool(kept.any()) else None
    return (None if bool(allowed.all()) else allowed), bias
