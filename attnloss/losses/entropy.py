"""Entropy of the attention weights.

    H_i = −Σ_j p_ij·log p_ij          p_ij: weight of key j for query i; 0·log 0 = 0; in nats

0 where a query attends to one key, log m where it attends to m keys alike. Zhai et al. 2023, Stabilizing
Transformer Training by Preventing Attention Entropy Collapse, watch it; the article behind this project
means it by its loss.
"""

from typing import Unpack

from jaxtyping import Float
from torch import Tensor

from attnloss.losses.public import compute
from attnloss.options import LossOptions
from attnloss.scores import Scores
from attnloss.statistics import Entropy


def functional(scores: Scores) -> Entropy:
    """Build the loss, which is the statistic of that name."""
    return Entropy()


def entropy(
    query: Float[Tensor, "*batch n d"], key: Float[Tensor, "*key_batch m d"], **options: Unpack[LossOptions]
) -> Float[Tensor, "*reduced"]:
    """Entropy of softmax(scale·QKᵀ) per query, reduced; float32, or float64 for float64 inputs.

    `options` are causal, mask, key_lengths, query_lengths and scale of `attnloss.attention`, `reduction`
    (none, mean by default, or sum, over valid queries) and `backend`. Raises FieldError (a ValueError) as
    `attention` does.
    """
    return compute(query, key, functional, {}, **options)
