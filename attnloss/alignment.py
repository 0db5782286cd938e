"""The best monotonic alignment: which key each query has on the likeliest way through all keys in order."""

import torch
from jaxtyping import Int
from torch import Tensor

from attnloss.ctc import IMPOSSIBLE
from attnloss.errors import FieldError
from attnloss.onepass import Pass
from attnloss.score_map import FAR, ScoreMap
from attnloss.statistics import Lse
from attnloss.tiles import Tile
from attnloss.workspace import borrowed

_State = tuple[Tensor, Tensor]
"""The best sum of log weights that ends at each key [b, h, m], and at no key yet [b, h, 1]."""


@torch.no_grad()
def monotonic_path(scores: ScoreMap) -> Int[Tensor, "B H n"]:
    """Maximise Σ_i log p_{i,a_i} over a that start at the first key, end at the last valid one, and move by 0 or 1.

    Viterbi's algorithm (Kim et al. 2020, Glow-TTS, call it monotonic alignment search), with states kept for
    about the square root of all tiles, and the tiles between computed again on the way back. Queries that may
    attend to nothing keep the key of the one after them.

    Raises FieldError where there is no such way, as with fewer queries than keys.
    """
    batch, heads, n, _ = scores.shape
    path = scores.zeros(batch, heads, n, dtype=torch.int64)
    work = Pass.of(scores, (Lse(),))
    ends = torch.as_tensor(scores.key_end, device=scores.device).expand(batch)
    for chain in work.chains():
        stride = max(round(len(chain) ** 0.5), 1)
        states = [_start(scores, chain[0])]
        for number, tile in enumerate(chain):
            after = _through(work, tile, states[-1])[0]
            states = [*states[: number // stride + 1], after]
        at = (ends[chain[0].batch] - 1).clamp(min=0)[:, None, None].expand(*states[-1][0].shape[:2], 1)
        _check(scores, chain[0], states[-1][0].gather(-1, at))
        for first in reversed(range(0, len(chain), stride)):
            segment = chain[first : first + stride]
            moves, state = [], states[first // stride]
            for tile in segment:
                state, moved = _through(work, tile, state)
                moves.append(moved)
            for tile, moved in zip(reversed(segment), reversed(moves), strict=True):
                at = _back(path, tile, moved, at)
    return path


def _start(scores: ScoreMap, tile: Tile) -> _State:
    batch, heads = (part.stop - part.start for part in (tile.batch, tile.heads))
    best = scores.zeros(batch, heads, scores.shape[3], dtype=torch.float64) + IMPOSSIBLE
    return best, torch.zeros_like(best[..., :1])


def _through(work: Pass, tile: Tile, state: _State) -> tuple[_State, Tensor]:
    """Give the state after a tile, and where the best way came from the key before [b, h, r, m]."""
    scores, (best, entry) = work.scores, state
    with borrowed() as workspace:
        block = work.block(tile, [operand.cut(tile) for operand in work.operands], workspace)
        log_weights = block.log_weights.double()
        log_weights = log_weights.masked_fill(log_weights < FAR / 2, IMPOSSIBLE)
    log_weights = torch.nn.functional.pad(log_weights, (0, best.shape[-1] - tile.keys), value=IMPOSSIBLE)
    valid = tile.cut_query(scores.valid).expand(log_weights.shape[:3])
    moves = torch.empty(log_weights.shape, dtype=torch.bool, device=scores.device)
    for row in range(log_weights.shape[2]):
        now = valid[:, :, row, None]
        before = torch.cat([entry, best[..., :-1]], -1)
        moves[:, :, row] = (before > best) & now
        after = (torch.maximum(best, before) + log_weights[:, :, row]).clamp(min=IMPOSSIBLE)
        best = torch.where(now, after, best)
        entry = torch.where(now, IMPOSSIBLE, entry)
    return (best, entry), moves


def _back(path: Tensor, tile: Tile, moved: Tensor, at: Tensor) -> Tensor:
    """Write the keys of a tile's queries, last first, and give the key before them."""
    part = path[tile.batch, tile.heads, tile.rows]
    for row in reversed(range(moved.shape[2])):
        part[:, :, row] = at[..., 0]
        at = (at - moved[:, :, row].gather(-1, at).long()).clamp(min=0)
    return at


def _check(scores: ScoreMap, tile: Tile, reached: Tensor) -> None:
    some = scores.valid.any(-1).expand(scores.shape[:2])[tile.batch, tile.heads]
    stuck = some & (reached[..., 0] < IMPOSSIBLE / 2)
    if bool(stuck.any()):
        entry, head = (int(at) for at in stuck.nonzero()[0])
        place = f"batch entry {entry + tile.batch.start}, head {head + tile.heads.start}"
        raise FieldError("query", (), f"no way leads in order through all keys of {place}; it needs a query for each")
