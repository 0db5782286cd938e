"""What a probe keeps of one attention layer."""

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from attnloss.loss import Loss
from attnloss.probe.errors import ProbeError
from attnloss.score_map import ScoreMap


@dataclass(frozen=True, eq=False)
class AttentionRecord:
    """Statistics and losses of one attention layer in one forward, for the heads that were chosen.

    `values` are statistics [B, heads, ...] by the names of `attnloss.attention`, top as top_index and
    top_weight; `losses` are by label and unreduced: per query [B, heads, n], per head [B, heads] or per batch
    entry [B], as `terms` say. `counts` tells how many keys each query may attend to, 0 for padding, and `keys`
    how many keys there are. `scores`, if kept, describe the map by its queries and keys.
    """

    site: str
    layer: int
    heads: tuple[int, ...]
    values: dict[str, Tensor]
    losses: dict[str, Tensor]
    terms: Mapping[str, Loss]
    counts: Int[Tensor, "B h n"]
    keys: int
    scores: ScoreMap | None
    backend: str

    def reduce(self, label: str, reduction: str = "mean") -> Float[Tensor, "*reduced"]:
        """Reduce a loss by its label over valid (batch, head, query). Raises ProbeError for an unknown label."""
        if label not in self.terms:
            raise ProbeError(f"no loss is labelled {label!r}; there are {', '.join(self.terms) or 'none'}")
        return self.terms[label].reduce(self.losses[label], self.counts, self.keys, reduction)
