"""Attention sinks: the mass that goes to a few chosen keys.

    loss_i = Σ_{k ∈ keys} p_ik          p_ik: weight of key k for query i; keys: the first key by default

Xiao et al. 2023, Efficient Streaming Language Models with Attention Sinks: trained models put much of it on
the first token. Keys that a query may not attend to count 0; `attnloss.sink_rate` counts the heads.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Unpack

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from attnloss.block import Block
from attnloss.errors import FieldError
from attnloss.functional import Functional
from attnloss.loss import Loss
from attnloss.losses.public import compute, loss_function
from attnloss.options import LossOptions
from attnloss.reference import DenseMap
from attnloss.score_map import ScoreMap


@dataclass(frozen=True)
class SinkMass(Functional):
    """Σ_{k ∈ keys} p_ik."""

    keys: tuple[int, ...]

    @override
    def from_block(self, block: Block, *operands: Tensor) -> Tensor:
        here = [key for key in self.keys if key < block.tile.keys]
        place = torch.tensor(here, dtype=torch.int64, device=block.scores.device)
        return block.shifted.index_select(-1, place).exp().sum(-1) / block.total[..., 0]

    @override
    def reference(self, dense: DenseMap, *operands: Tensor) -> Tensor:
        return dense.weights[..., list(self.keys)].sum(-1)


def build(scores: ScoreMap, *, keys: Sequence[int] = (0,)) -> Loss:
    """Validate the keys and build the loss."""
    check_keys(keys, scores.shape[3])
    return Loss.of(SinkMass(tuple(keys)))


def check_keys(keys: Sequence[int], m: int) -> None:
    """Check that the chosen keys are among the m, each named once."""
    if isinstance(keys, int) or not all(isinstance(key, int) for key in keys):
        raise FieldError("keys", (), f"keys must be a sequence of integers, got {keys!r}")
    if not keys:
        raise FieldError("keys", (), "keys must name at least one key, got none")
    for place, key in enumerate(keys):
        if not 0 <= key < m:
            raise FieldError("keys", (place,), f"keys[{place}] must be within 0…{m - 1}, got {key}")
        if key in keys[:place]:
            raise FieldError("keys", (place,), f"keys[{place}] is {key} again; name each key once")


@loss_function(build)
def sink(
    query: Float[Tensor, "*batch n d"],
    key: Float[Tensor, "*key_batch m d"],
    *,
    keys: Sequence[int] = (0,),
    **options: Unpack[LossOptions],
) -> Float[Tensor, "*reduced"]:
    """Mass of each query's weights on the chosen keys, reduced. `options` are those of `entropy`."""
    return compute(query, key, build, {"keys": keys}, **options)
