"""How a score map is cut into tiles that fit in a cache."""

from collections.abc import Iterator

from attnloss.score_map import ScoreMap
from attnloss.tiles import Tile

TILE_SCORES = 1 << 19
"""Scores per tile, 2 MiB in float32.

On two cores with 1 MiB of L2 each, at n = 4096, half of it is 10 % slower, a quarter 35 %, and twice is 8 % faster.
"""

FEWEST_ROWS = 16
"""Queries of a tile at least, however many keys they have: fewer make its matrix products inefficient."""


def tiles(scores: ScoreMap, rows: range, *, whole_heads: bool = False, carried: bool = False) -> Iterator[Tile]:
    """Cut rows of the score map into tiles of about TILE_SCORES, grouping heads and batch entries.

    Tiles of the same batch entries and heads follow each other by rows. `whole_heads` keeps all heads of a
    batch entry together. Where a state is `carried` from tile to tile they are half as large: its gradient
    takes more arrays of their size.
    """
    batch, heads, _, m = scores.shape
    key_heads = scores.key_heads
    group = heads // key_heads
    together = heads if whole_heads else group
    most = TILE_SCORES // 2 if carried else TILE_SCORES
    row_step = _share(len(rows), max(most // (together * m), 1 if whole_heads else FEWEST_ROWS))
    room = most // (group * m * row_step)
    head_step = key_heads if whole_heads else _share(key_heads, room)
    batch_step = _share(batch, room // key_heads)
    for entry in range(0, batch, batch_step):
        for head in range(0, key_heads, head_step):
            head_stop = min(head + head_step, key_heads)
            for row in range(rows.start, rows.stop, row_step):
                part = slice(row, min(row + row_step, rows.stop))
                yield Tile(
                    batch=slice(entry, min(entry + batch_step, batch)),
                    heads=slice(head * group, head_stop * group),
                    key_heads=slice(head, head_stop),
                    rows=part,
                    keys=scores.key_stop(part),
                )


def _share(count: int, most: int) -> int:
    """Size of the parts when `count` is cut evenly into as few parts of at most `most` as will do."""
    parts = -(-count // max(most, 1))
    return -(-count // parts)
