"""Cross-entropy between the attention weights and a given map.

    target, a distribution per query:   loss_i = −Σ_j t_ij·log p_ij
    target, a key a_i per query:        loss_i = −log p_{i,a_i}
    probability:                        loss_i = −Σ_j p_ij·log r_ij

    p_ij: weight of key j for query i; t_ij: target; r_ij: probability; 0·log 0 = 0; sums over allowed keys;
    in nats

The first two supervise alignment (Liu et al. 2016, Neural Machine Translation with Supervised Attention;
Garg et al. 2019, Jointly Learning to Align and Translate); the third is the loss of the article behind this
project. `eps` replaces log(x) by log(max(x, eps)).
"""

import math
from dataclasses import dataclass
from typing import Unpack

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor
from typing_extensions import override

from attnloss import reference
from attnloss.block import FAR, Block
from attnloss.errors import FieldError
from attnloss.flash import FlashPass
from attnloss.functional import Functional, Operand
from attnloss.losses import targets
from attnloss.losses.public import compute
from attnloss.options import LossOptions
from attnloss.reference import DenseMap
from attnloss.scores import Scores


@dataclass(frozen=True, eq=False)
class DenseTarget(Functional):
    """−Σ_j t_ij·log p_ij over the allowed keys."""

    target: Float[Tensor, "#B #H n m"]
    eps: float

    @property
    @override
    def operands(self) -> tuple[Operand, ...]:
        return (Operand(self.target, "map"),)

    @override
    def from_block(self, block: Block, *operands: Tensor) -> Tensor:
        """Sum over the keys of the block: none beyond is allowed."""
        target = operands[0] if block.allowed is None else torch.where(block.allowed, operands[0], 0.0)
        return -(target * _clamped(block.shifted - block.log_total, self.eps)).sum(-1)

    @override
    def reference(self, dense: DenseMap, *operands: Tensor) -> Tensor:
        return reference.cross_entropy_target(dense, operands[0], self.eps)


@dataclass(frozen=True, eq=False)
class IndexTarget(Functional):
    """−log p_{i,a_i}; by flash L_i − s_{i,a_i}."""

    index: Int[Tensor, "#B #H n"]
    eps: float
    flash = "lse"
    cancels = True

    @property
    @override
    def operands(self) -> tuple[Operand, ...]:
        return (Operand(self.index, "query"),)

    @override
    def from_block(self, block: Block, *operands: Tensor) -> Tensor:
        """Pick the key of each query; one beyond the block's keys is a key that is not allowed."""
        index = operands[0].expand(block.shifted.shape[:3])[..., None]
        keys = block.shifted.shape[-1]
        picked = block.shifted.gather(-1, index.clamp(max=keys - 1)).masked_fill(index >= keys, FAR)
        loss = -_clamped(picked - block.log_total, self.eps)
        return (loss if block.empty is None else loss.masked_fill(block.empty, 0.0))[..., 0]

    @override
    def from_flash(self, flash: FlashPass, *operands: Tensor) -> Tensor:
        """Take the scores of the picked keys from the lse."""
        index = operands[0].expand(flash.query.shape[:3])
        picked = flash.key.gather(2, index[..., None].expand_as(flash.query))
        log_weight = flash.scale * (flash.query * picked).sum(-1) - flash.lse
        return -_clamped(log_weight.masked_fill(~flash.scores.allows(index), FAR), self.eps)

    @override
    def reference(self, dense: DenseMap, *operands: Tensor) -> Tensor:
        return reference.cross_entropy_index(dense, operands[0], self.eps)


@dataclass(frozen=True, eq=False)
class Probability(Functional):
    """−Σ_j p_ij·log r_ij over the allowed keys."""

    probability: Float[Tensor, "#B #H n m"]
    eps: float

    @property
    @override
    def operands(self) -> tuple[Operand, ...]:
        return (Operand(self.probability, "map"),)

    @override
    def from_block(self, block: Block, *operands: Tensor) -> Tensor:
        """Average −log r; without eps r is 0 only where the weight is, and counts 0 there."""
        given = operands[0]
        positive = given.clamp(min=self.eps) if self.eps > 0 else torch.where(given > 0, given, 1.0)
        return -block.mean_of(positive.log())

    @override
    def reference(self, dense: DenseMap, *operands: Tensor) -> Tensor:
        return reference.cross_entropy_probability(dense, operands[0], self.eps)


def _clamped(log_weight: Tensor, eps: float) -> Tensor:
    """log(max(p, eps)) from log p."""
    return log_weight.clamp(min=math.log(eps)) if eps > 0 else log_weight


def functional(
    scores: Scores,
    *,
    target: Shaped[Tensor, "..."] | None = None,
    probability: Float[Tensor, "..."] | None = None,
    kind: str | None = None,
    eps: float = 0.0,
) -> Functional:
    """Validate the parameters and build the loss; see `cross_entropy`."""
    if not 0 <= eps < 1:
        raise FieldError("eps", (), f"eps must be within 0 ≤ eps < 1, got {eps}")
    if (target is None) == (probability is None):
        came = "neither" if target is None else "both"
        raise FieldError("target", (), f"cross_entropy needs either target or probability, got {came}")
    if probability is not None:
        if kind is not None:
            raise FieldError("kind", (), f"kind says how to read a target, got {kind!r} with a probability")
        lifted = targets.distributions(probability, "probability", scores)
        if eps == 0:
            targets.supports(probability, lifted, scores)
        return Probability(lifted, eps)
    assert target is not None
    if targets.kind_of(target, kind, scores) == "index":
        return IndexTarget(targets.index(target, scores, may_miss=eps > 0), eps)
    return DenseTarget(targets.distributions(target, "target", scores), eps)


def cross_entropy(
    query: Float[Tensor, "*batch n d"],
    key: Float[Tensor, "*key_batch m d"],
    *,
    target: Shaped[Tensor, "..."] | None = None,
    probability: Float[Tensor, "..."] | None = None,
    kind: str | None = None,
    eps: float = 0.0,
    **options: Unpack[LossOptions],
) -> Float[Tensor, "*reduced"]:
    """Cross-entropy of softmax(scale·QKᵀ) to a target or a probability, per query, reduced.

    Give either. `target` is dense, of shape [n, m] or that of the weights (size 1 allowed in batch and
    heads), or an index of integers, of shape [n] or that of the weights without m; `kind` ("dense",
    "index") decides for integers whose shape fits both. `probability` is dense. Rows are ≥ 0 and sum to 1 ±
    1e-3 over the keys that the query may attend to; what lies on other keys does not count. Both are
    differentiable where they are dense.

    Raises FieldError, naming the argument and the place in it, also where the loss would be infinite: an
    index that the query may not attend to, a probability of 0 where the weight is not. `eps` > 0 clamps
    these instead.

    `options` are causal, mask, key_lengths, query_lengths and scale of `attnloss.attention`, `reduction`
    (none, mean by default, or sum, over valid queries) and `backend`.
    """
    parameters = {"target": target, "probability": probability, "kind": kind, "eps": eps}
    return compute(query, key, functional, parameters, **options)
