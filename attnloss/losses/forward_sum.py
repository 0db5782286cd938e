"""Sum over all monotonic alignments: queries pass through the keys in order, by CTC over the log weights.

    loss = −log Σ_π Π_i q_{i,π_i},   q_ij = p_ij / (1 + e^b),   q_i,blank = e^b / (1 + e^b)

    p_ij: weight of key j for query i; π: all ways that name every valid key once, in order, repeats and
    blanks collapsed; b: `blank`, the blank's log-probability before normalisation; one value per head, in nats

Learns an alignment from nothing but its order. Badlani et al. 2022, One TTS Alignment To Rule Them All; CTC is
Graves et al. 2006. Infinite, and an error, where there are fewer queries than keys.

`compat="nemo"` divides by the number of keys, counts an infinite loss as 0, and averages over the batch. It is
NeMo's for log weights, as its aligner gives with a prior; of raw scores its code normalises blank and scores
together.
"""

import math
from dataclasses import dataclass
from typing import Unpack

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from attnloss import checks
from attnloss.block import Block
from attnloss.ctc import IMPOSSIBLE, through
from attnloss.errors import FieldError
from attnloss.functional import Carried, State
from attnloss.loss import Loss, Parts, over_entries
from attnloss.losses.public import compute, loss_function
from attnloss.options import LossOptions
from attnloss.reference import DenseMap
from attnloss.score_map import FAR, ScoreMap
from attnloss.tiles import Tile


@dataclass(frozen=True)
class ForwardSum(Carried):
    """The negative log-likelihood [B, H]; tiles pass on the log-probabilities of ending in each blank and key."""

    blank: float
    accumulates = True

    @override
    def allocate(self, scores: ScoreMap) -> Tensor:
        return scores.zeros(*scores.shape[:2])

    @override
    def slot(self, result: Tensor, tile: Tile) -> Tensor:
        return result[tile.batch, tile.heads]

    @override
    def start(self, scores: ScoreMap, tile: Tile) -> State:
        batch, heads = (part.stop - part.start for part in (tile.batch, tile.heads))
        blanks = torch.full((batch, heads, scores.shape[3] + 1), IMPOSSIBLE, dtype=torch.float64, device=scores.device)
        labels = blanks[..., 1:].clone()
        blanks[..., 0] = 0.0
        return blanks, labels

    @override
    def advance(self, block: Block, state: State, *operands: Tensor) -> tuple[Tensor, State]:
        scores, tile = block.scores, block.tile
        normaliser = math.log1p(math.exp(self.blank))
        log_keys = block.log_weights - normaliser
        log_keys = log_keys.masked_fill(log_keys < FAR / 2, IMPOSSIBLE)
        valid = tile.cut_query(scores.valid).expand(log_keys.shape[:3])
        blanks, labels = through(log_keys, state[0], state[1], self.blank - normaliser, valid)
        if tile.rows.stop < scores.shape[2]:
            return scores.zeros(*blanks.shape[:2]), (blanks, labels)
        last = torch.as_tensor(scores.key_end, device=scores.device).expand(scores.shape[0])[tile.batch]
        place = last[:, None, None].expand(*blanks.shape[:2], 1)
        ends = blanks.gather(-1, place), labels.gather(-1, (place - 1).clamp(min=0))
        return -torch.logaddexp(*ends)[..., 0].to(scores.dtype), (blanks, labels)

    @override
    def reference(self, dense: DenseMap, *operands: Tensor) -> Tensor:
        batch, heads = dense.weights.shape[:2]
        log_weights = dense.log_weights.masked_fill(~dense.allowed | (dense.log_weights < FAR / 2), IMPOSSIBLE)
        losses = []
        for entry, keys in enumerate(dense.key_ends.tolist()):
            for head in range(heads):
                rows = log_weights[entry, head, dense.allowed[entry, head].any(-1), :keys]
                losses.append(_forward_sum(rows, self.blank))
        return torch.stack(losses).view(batch, heads)


def _forward_sum(rows: Float[Tensor, "n m"], blank: float) -> Float[Tensor, ""]:
    """Sum over all ways by the textbook recursion, row by row (Graves et al. 2006, equations 6 and 7)."""
    normaliser = math.log1p(math.exp(blank))
    blanks = torch.nn.functional.pad(rows.new_zeros(1), (0, rows.shape[1]), value=IMPOSSIBLE)
    keys = blanks[1:]
    for row in rows:
        before = torch.cat([keys.new_full((1,), IMPOSSIBLE), keys])
        entered = torch.stack([keys, blanks[:-1], before[:-1]]).logsumexp(0)
        blanks = torch.logaddexp(blanks, before) + blank - normaliser
        keys = entered + row - normaliser
    return -torch.cat([blanks[-1:], keys[-1:]]).logsumexp(0)


def build(scores: ScoreMap, *, blank: float = -1.0, compat: str | None = None) -> Loss:
    """Validate the blank and build the loss."""
    checks.within("blank", blank, -100.0, 100.0)
    follows = checks.compat(compat, "nemo") is not None
    some = scores.valid.any(-1)

    def combine(parts: Parts) -> Tensor:
        values = parts["sum"].masked_fill(~some, 0.0)
        infinite = ~(values < -IMPOSSIBLE / 2)
        if follows:
            keys = torch.as_tensor(scores.key_end, device=scores.device).clamp(min=1)
            return values.masked_fill(infinite, 0.0) / (keys[:, None] if keys.ndim else keys)
        if bool(infinite.any()):
            entry, head = (int(at) for at in infinite.nonzero()[0])
            cause = f"no way leads in order through all {_keys(scores, entry)} keys of batch entry {entry}, head {head}"
            raise FieldError("query", (), f"forward_sum is infinite: {cause}; it needs a query for each key")
        return values

    return Loss({"sum": ForwardSum(blank)}, combine, "head", over_entries if follows else None)


def _keys(scores: ScoreMap, entry: int) -> int:
    return int(torch.as_tensor(scores.key_end).expand(scores.shape[0])[entry])


@loss_function(build)
def forward_sum(
    query: Float[Tensor, "*batch n d"],
    key: Float[Tensor, "*key_batch m d"],
    *,
    blank: float = -1.0,
    compat: str | None = None,
    **options: Unpack[LossOptions],
) -> Float[Tensor, "*reduced"]:
    """CTC loss of passing through all keys in order, per head, reduced. `options` are those of `entropy`.

    −100 ≤ `blank` < 100 is the blank's log-probability before normalisation. `compat` is None or "nemo".
    Reduction none gives [batch, heads] in the rank of the request. Raises FieldError where the loss is
    infinite.
    """
    return compute(query, key, build, {"blank": blank, "compat": compat}, **options)
