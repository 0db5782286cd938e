"""Functionals of cross-entropy: a target that is dense, an index or sparse, the uniform one, and a probability."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from typing_extensions import override

from attnloss.block import Block
from attnloss.functional import Functional, Operand
from attnloss.fused import FusedPass
from attnloss.reference import DenseMap
from attnloss.score_map import FAR


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
        return -(block.keep(operands[0]) * clamped(block.log_weights, self.eps)).sum(-1)

    @override
    def reference(self, dense: DenseMap, *operands: Tensor) -> Tensor:
        return -(operands[0] * _log(dense, self.eps) * dense.allowed).sum(-1)


@dataclass(frozen=True)
class UniformTarget(Functional):
    """−(1/M_i)·Σ_j log p_ij over the M_i allowed keys: what smoothing mixes in."""

    eps: float

    @override
    def from_block(self, block: Block, *operands: Tensor) -> Tensor:
        total = block.keep(clamped(block.log_weights, self.eps)).sum(-1)
        counts = block.log_weights.shape[-1] if block.allowed is None else block.allowed.sum(-1).clamp(min=1)
        return -total / counts

    @override
    def reference(self, dense: DenseMap, *operands: Tensor) -> Tensor:
        return -(_log(dense, self.eps) * dense.allowed).sum(-1) / dense.counts.clamp(min=1)


@dataclass(frozen=True, eq=False)
class IndexTarget(Functional):
    """−log p_{i,a_i}; fused L_i − s_{i,a_i}."""

    index: Int[Tensor, "#B #H n"]
    eps: float
    needs = frozenset({"lse"})
    cancels = True

    @property
    @override
    def operands(self) -> tuple[Operand, ...]:
        return (Operand(self.index, "query"),)

    @override
    def from_block(self, block: Block, *operands: Tensor) -> Tensor:
        index = operands[0].expand(block.shifted.shape[:3])[..., None]
        loss = -clamped(log_weight_at(block, index), self.eps)
        return (loss if block.empty is None else loss.masked_fill(block.empty, 0.0))[..., 0]

    @override
    def from_fused(self, fused: FusedPass, *operands: Tensor) -> Tensor:
        """Take the scores of the picked keys from the lse."""
        index = operands[0].expand(fused.scores.shape[:3])
        log_weight = fused.log_weight_at(index).masked_fill(~fused.scores.allows(index), FAR)
        return -clamped(log_weight, self.eps).masked_fill(~fused.scores.valid, 0.0)

    @override
    def reference(self, dense: DenseMap, *operands: Tensor) -> Tensor:
        place = operands[0].expand(dense.lse.shape)[..., None]
        loss = -_log(dense, self.eps).gather(-1, place)[..., 0]
        return loss.masked_fill(~dense.allowed.any(-1), 0.0)


@dataclass(frozen=True, eq=False)
class SparseTarget(Functional):
    """−Σ_t w_it·log p_{i,k_it} over the keys k_i that are given with weights w_i."""

    keys: Int[Tensor, "#B #H n k"]
    shares: Float[Tensor, "#B #H n k"]
    eps: float

    @property
    @override
    def operands(self) -> tuple[Operand, ...]:
        return Operand(self.keys, "query"), Operand(self.shares, "query")

    @override
    def from_block(self, block: Block, *operands: Tensor) -> Tensor:
        keys, shares = operands
        keys = keys.expand(*block.shifted.shape[:3], -1)
        loss = -(shares * clamped(log_weight_at(block, keys), self.eps))
        return (loss if block.empty is None else loss.masked_fill(block.empty, 0.0)).sum(-1)

    @override
    def reference(self, dense: DenseMap, *operands: Tensor) -> Tensor:
        keys, shares = operands
        picked = _log(dense, self.eps).gather(-1, keys.expand(*dense.lse.shape, -1))
        return -(shares * picked).sum(-1).masked_fill(~dense.allowed.any(-1), 0.0)


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
        log_given = torch.where(operands[0] > 0, operands[0], 1.0).log()
        if self.eps > 0:
            log_given = torch.where(operands[0] > self.eps, log_given, math.log(self.eps))
        return -block.mean_of(log_given)

    @override
    def reference(self, dense: DenseMap, *operands: Tensor) -> Tensor:
        return -torch.xlogy(dense.weights, operands[0].clamp(min=self.eps)).sum(-1)


def log_weight_at(block: Block, index: Int[Tensor, "b h r t"]) -> Float[Tensor, "b h r t"]:
    """Log p of some keys of each query; one beyond the block's keys is a key that is not allowed."""
    keys = block.shifted.shape[-1]
    picked = block.shifted.gather(-1, index.clamp(max=keys - 1)).masked_fill(index >= keys, FAR)
    return picked - block.log_total


def clamped(log_weight: Tensor, eps: float) -> Tensor:
    """log(max(p, eps)) from log p."""
    return log_weight.clamp(min=math.log(eps)) if eps > 0 else log_weight


def _log(dense: DenseMap, eps: float) -> Tensor:
    return dense.weights.clamp(min=eps).log() if eps > 0 else dense.log_weights
