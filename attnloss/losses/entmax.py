"""Fenchel-Young loss of α-entmax: learn a target with weights that may be exactly 0.

    loss_i = H(p*_i) − H(t_i) + Σ_j (p*_ij − t_ij)·s_ij,   H(p) = (1 − Σ_j p_j^α) / (α·(α − 1))

    s_ij: score of key j for query i; p*: α-entmax of the scores; t: `target`, a key or a distribution;
    α: `alpha`

0 as soon as the target's scores lead by a margin, unlike cross-entropy, which α → 1 gives. Its gradient in the
scores is p* − t. Peters et al. 2019, Sparse Sequence-to-Sequence Models; Blondel et al. 2020, Learning with
Fenchel-Young Losses.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Unpack

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from typing_extensions import override

from attnloss import checks
from attnloss.block import Block
from attnloss.errors import FieldError
from attnloss.functional import Functional, Operand
from attnloss.loss import Loss
from attnloss.losses import targets
from attnloss.losses.public import compute, loss_function
from attnloss.options import LossOptions
from attnloss.reference import DenseMap
from attnloss.score_map import FAR, ScoreMap
from attnloss.sparse_softmax import entmax as sparse_softmax
from attnloss.sparse_softmax import tsallis


@dataclass(frozen=True, eq=False)
class FenchelYoung(Functional):
    """H(p*) − H(t) + ⟨p* − t, s⟩; p* is constant to the gradient, which is p* − t all the same."""

    target: Shaped[Tensor, "..."]
    alpha: float

    @property
    @override
    def operands(self) -> tuple[Operand, ...]:
        return (Operand(self.target, "map" if self.target.is_floating_point() else "query"),)

    @override
    def from_block(self, block: Block, *operands: Tensor) -> Tensor:
        weights = sparse_softmax(block.shifted.detach(), self.alpha)
        return self._gap(weights, block.shifted, block.keep, operands[0])

    @override
    def reference(self, dense: DenseMap, *operands: Tensor) -> Tensor:
        largest = dense.logits.masked_fill(~dense.allowed, -torch.inf).amax(-1, keepdim=True).detach()
        largest = largest.masked_fill(largest.isinf(), 0.0)
        shifted = (dense.logits - largest).masked_fill(~dense.allowed, FAR)
        weights = sparse_softmax(shifted.detach(), self.alpha)
        return self._gap(weights, shifted, lambda cells: torch.where(dense.allowed, cells, 0.0), operands[0])

    def _gap(self, weights: Tensor, scores: Tensor, keep: Callable[[Tensor], Tensor], target: Tensor) -> Tensor:
        gained = tsallis(weights, self.alpha) + (weights * scores).sum(-1)
        if not target.is_floating_point():
            index = target.expand(scores.shape[:3])[..., None].clamp(max=scores.shape[-1] - 1)
            return gained - scores.gather(-1, index)[..., 0]
        kept = keep(target)
        return gained - tsallis(kept, self.alpha) - (kept * scores).sum(-1)


def build(
    scores: ScoreMap,
    *,
    target: Shaped[Tensor, "..."] | None = None,
    kind: str | None = None,
    alpha: float = 1.5,
    name: str = "entmax",
) -> Loss:
    """Validate the target and alpha, and build the loss."""
    checks.within("alpha", alpha, 1.05, 10.0)
    if target is None:
        raise FieldError("target", (), f"{name} needs target, the key of each query or its distribution; got None")
    if targets.kind_of(target, kind, scores) == "index":
        return Loss.of(FenchelYoung(targets.index(target, scores), alpha))
    return Loss.of(FenchelYoung(targets.distributions(target, "target", scores), alpha))


@loss_function(build)
def entmax(
    query: Float[Tensor, "*batch n d"],
    key: Float[Tensor, "*key_batch m d"],
    *,
    target: Shaped[Tensor, "..."],
    kind: str | None = None,
    alpha: float = 1.5,
    **options: Unpack[LossOptions],
) -> Float[Tensor, "*reduced"]:
    """Fenchel-Young loss of α-entmax of the scores to a target, per query, reduced.

    `target` is an index or dense, as for `cross_entropy`; 1.05 ≤ `alpha` < 10. `options` are those of
    `entropy`. Raises FieldError where a query may not attend to its target.
    """
    return compute(query, key, build, {"target": target, "kind": kind, "alpha": alpha}, **options)
