"""The chunked backend: one pass over the tiles of a score map computes everything a request wants of it."""

from collections.abc import Callable, Mapping
from typing import cast

import torch
from torch import Tensor

from attnloss.functional import Functional
from attnloss.onepass import Pass
from attnloss.recompute import Streamed
from attnloss.score_map import ScoreMap


def stream(scores: ScoreMap, wanted: Mapping[str, Functional]) -> dict[str, Tensor]:
    """Compute functionals tile by tile, in memory linear in n and m both ways.

    What fits in one tile is left to autograd. Beyond that the backward pass computes each tile again, and
    cannot itself be differentiated.
    """
    work = Pass.of(scores, tuple(wanted.values()))
    chains = work.chains()
    tensors = [operand.tensor for operand in work.operands]
    recording = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    if recording and (len(chains) > 1 or len(chains[0]) > 1):
        streamed = cast("Callable[..., tuple[Tensor, ...]]", Streamed.apply)
        return dict(zip(wanted, streamed(work, chains, *tensors), strict=True))
    with torch.set_grad_enabled(recording):
        return dict(zip(wanted, work.run(chains, lambda tile, states: None), strict=True))
