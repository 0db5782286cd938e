"""How tokens × vocabulary is cut into tiles."""

from collections.abc import Iterator

TILE_LOGITS = 1 << 22
"""Logits per tile, 16 MiB in float32.

On two cores with 32 MiB of L3, d = 256: a quarter of it takes 1.2× the time, or 2× where other processes want the
cores, since each operation waits for its slowest thread; half and twice of it take 1.05×.
"""

MOST_TOKENS = 1024
"""Tokens of a tile at most: more leave fewer columns, and matrix products like both."""

MOST_COLUMNS = 8192
"""Columns of a tile at most, however few the tokens: a block of the output matrix is held in float32 too."""

FUSED_LOGITS = 1 << 23
"""Logits per part for torch's `linear_cross_entropy`, whole rows, 32 MiB in float32.

Its own choice for 32,768 words of d = 256 is 16 rows, which was measured to take twice the time of 128 or 256.
"""

FEWEST_ROWS = 64
"""Rows of such a part for it to pay: each reads and writes the whole gradient of the output matrix."""


def tile_shape(tokens: int) -> tuple[int, int]:
    """Give the tokens and the columns of a tile."""
    rows = max(min(tokens, MOST_TOKENS), 1)
    return rows, max(min(TILE_LOGITS // rows, MOST_COLUMNS), 1)


def cuts(size: int, step: int) -> Iterator[slice]:
    """Cut an axis into parts of `step`, the last one shorter."""
    for start in range(0, size, step):
        yield slice(start, min(start + step, size))
