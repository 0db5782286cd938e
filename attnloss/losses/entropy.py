"""Entropy of the attention weights.

    H_i = −Σ_j p_ij·log p_ij          p_ij: weight of key j for query i; 0·log 0 = 0; in nats

0 where a query attends to one key, log m where it attends to m keys alike. Zhai et al. 2023, Stabilizing
Transformer Training by Preventing Attention Entropy Collapse, watch it; the article behind this project
means it by its loss.

`compat="ear"` is the regulariser of Attanasio et al. 2022, Entropy-based Attention Regularization Frees
Unintended Bias Mitigation from Lists, as its code computes it: the maps are averaged over heads, softmax is
applied to them a second time, over the valid keys, and the *negative* entropy is averaged over the valid
queries, then over the batch. The paper adds it with a weight of 0.01.
"""

from typing import Unpack

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from attnloss import checks
from attnloss.block import Block
from attnloss.functional import Functional
from attnloss.loss import Loss, over_entries
from attnloss.losses.public import compute, loss_function
from attnloss.options import LossOptions
from attnloss.reference import DenseMap
from attnloss.score_map import ScoreMap, per_entry
from attnloss.statistics import Entropy
from attnloss.tiles import Tile


class _Twice(Functional):
    """Σ_i Σ_j u_ij·log u_ij with u = softmax_j of the mean map over heads, per batch entry [B, 1]."""

    accumulates = True
    whole_heads = True

    @override
    def allocate(self, scores: ScoreMap) -> Tensor:
        return scores.zeros(scores.shape[0], 1)

    @override
    def slot(self, result: Tensor, tile: Tile) -> Tensor:
        return result[tile.batch]

    @override
    def from_block(self, block: Block, *operands: Tensor) -> Tensor:
        scores, tile = block.scores, block.tile
        pooled = block.weights.mean(1)
        beyond = scores.shape[3] - tile.keys
        pooled = torch.nn.functional.pad(pooled, (0, beyond))
        i, j = scores.positions(Tile(tile.batch, tile.heads, tile.key_heads, tile.rows, scores.shape[3]))
        ends = (per_entry(end, tile.batch) for end in (scores.query_end, scores.key_end))
        query_end, key_end = (end[:, 0] if isinstance(end, Tensor) else end for end in ends)
        valid = (i < query_end) & (j < key_end)
        log_soft = pooled.masked_fill(~(j < key_end), -torch.inf).log_softmax(-1).masked_fill(~valid, 0.0)
        return (log_soft.exp() * log_soft).masked_fill(~valid, 0.0).sum((-1, -2))[:, None]

    @override
    def reference(self, dense: DenseMap, *operands: Tensor) -> Tensor:
        sums = []
        for weights, queries, keys in zip(dense.weights, dense.query_ends, dense.key_ends, strict=True):
            pooled = weights.mean(0)[: int(queries), : int(keys)]
            sums.append((pooled.softmax(-1) * pooled.log_softmax(-1)).sum())
        return torch.stack(sums)[:, None]


def build(scores: ScoreMap, *, compat: str | None = None) -> Loss:
    """Build the loss, which is the statistic of that name, or EAR's."""
    if checks.compat(compat, "ear") is None:
        return Loss.of(Entropy())
    ends = torch.as_tensor(scores.query_end, device=scores.device).expand(scores.shape[0]).clamp(min=1)
    return Loss({"": _Twice()}, lambda parts: parts[""][:, 0] / ends, "batch", over_entries)


@loss_function(build)
def entropy(
    query: Float[Tensor, "*batch n d"],
    key: Float[Tensor, "*key_batch m d"],
    *,
    compat: str | None = None,
    **options: Unpack[LossOptions],
) -> Float[Tensor, "*reduced"]:
    """Entropy of softmax(scale·QKᵀ) per query, reduced; float32, or float64 for float64 inputs.

    `compat` is None or "ear". `options` are causal, mask, key_lengths, query_lengths and scale of
    `attnloss.attention`, `reduction` (none, mean by default, or sum, over valid queries) and `backend`.
    Raises FieldError (a ValueError) as `attention` does.
    """
    return compute(query, key, build, {"compat": compat}, **options)
