"""Divergences of two maps: the request's map P, and R of another query and key under the same mask."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from attnloss import checks, ranks, reference
from attnloss.block import Block
from attnloss.errors import FieldError
from attnloss.functional import Functional, Operand
from attnloss.fused import FusedPass
from attnloss.given import GivenWeights
from attnloss.losses.targets import first
from attnloss.reference import DenseMap
from attnloss.score_map import FAR, ScoreMap
from attnloss.scores import Scores


@dataclass(frozen=True, eq=False)
class Divergence(Functional):
    """Σ_j φ(log p_ij, log r_ij), the scores of both maps divided by `temperature`."""

    other: ScoreMap
    temperature: float = 1.0
    kind: ClassVar[str]
    """Its name in `FusedPass.two_maps`."""
    needs = frozenset({"two_maps"})

    @property
    @override
    def operands(self) -> tuple[Operand, ...]:
        return self.other.operands

    @abstractmethod
    def diverge(
        self,
        log_p: Float[Tensor, "b h r k"],
        log_r: Float[Tensor, "b h r k"],
        p: Float[Tensor, "b h r k"],
        r: Float[Tensor, "b h r k"],
    ) -> Float[Tensor, "b h r"]:
        """Compute it from both maps and their logarithms, which at masked keys are finite, the weights 0."""

    @override
    def from_block(self, block: Block, *operands: Tensor) -> Tensor:
        log_p, p = tempered(block, self.temperature)
        log_r, r = tempered(block.other(self.other, operands), self.temperature)
        return self.diverge(log_p, log_r, p, r)

    @override
    def score_bound(self, scores: ScoreMap) -> float:
        return max(scores.bound, self.other.bound) / self.temperature

    @override
    def from_fused(self, fused: FusedPass, *operands: Tensor) -> Tensor:
        return fused.two_maps(cast("Scores", self.other), self.kind, self.temperature)

    @override
    def reference(self, dense: DenseMap, *operands: Tensor) -> Tensor:
        maps = (tempered_dense(each, self.temperature) for each in (dense, reference.dense(self.other)))
        (log_p, p), (log_r, r) = maps
        return self.diverge(log_p, log_r, p, r)


def tempered(block: Block, temperature: float) -> tuple[Tensor, Tensor]:
    """Log p and p of a block whose scores are divided by `temperature`."""
    if temperature == 1:
        return block.log_weights, block.weights

    def compute() -> tuple[Tensor, Tensor]:
        shifted = block.shifted / temperature
        exp = shifted.exp()
        total = exp.sum(-1, keepdim=True).clamp(min=1.0)
        return shifted - total.log(), exp / total

    return block.shared(("tempered", temperature), compute)


def tempered_dense(dense: DenseMap, temperature: float) -> tuple[Tensor, Tensor]:
    """The same of a dense map."""
    denied = ~dense.allowed
    logits = (dense.logits / temperature).masked_fill(denied & dense.allowed.any(-1, keepdim=True), -torch.inf)
    log_weights = logits.log_softmax(-1).masked_fill(denied, FAR)
    return log_weights, log_weights.exp()


def second(other: ScoreMap | None, name: str) -> ScoreMap:
    """Check that the second map is there."""
    if other is None:
        raise FieldError("other", (), f"{name} compares two maps and needs other, with query and key; got None")
    return other


def check_support(scores: ScoreMap, other: ScoreMap, *, of_other: bool) -> None:
    """Refuse weights given as 0 where the other map's are not: the divergence would be infinite."""
    if not isinstance(other, GivenWeights) or not isinstance(scores, GivenWeights):
        return
    p, r = scores.weights.detach(), other.weights.detach()
    bare = (r > 0) & (p <= 0) if of_other else (p > 0) & (r <= 0)
    if place := first(bare & scores.valid[..., None]):
        at = ranks.index_in(tuple(ranks.restore(p, scores.rank).shape), place)
        field = "weights" if of_other else "other"
        raise FieldError(field, at, f"the loss is infinite: {field}{list(at)} is 0 where the other map's weight is not")


def check_temperature(temperature: float) -> float:
    """Check the temperature: at 1e3 a masked key would begin to count."""
    return checks.within("temperature", temperature, 1e-3, 1e2)
