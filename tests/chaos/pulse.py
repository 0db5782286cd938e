"""Asks /health/live every 20 ms until its standard input ends: `python -m tests.chaos.pulse PORT`.

It prints, for each question, when it was due by the monotonic clock and how long its answer took from then.
"""

import json
import selectors
import sys
import time

from tests.chaos.wire import Wire, get_bytes

EVERY_S = 0.02


def main(port: int) -> list[tuple[float, float]]:
    """Ask until the end."""
    ended = selectors.DefaultSelector()
    ended.register(sys.stdin, selectors.EVENT_READ)
    beats: list[tuple[float, float]] = []
    due_s = time.monotonic()
    with Wire(port) as wire:
        while not ended.select(max(0.0, due_s - time.monotonic())):
            assert wire.ask(get_bytes("/health/live")).status == 200
            now_s = time.monotonic()
            beats.append((due_s, now_s - due_s))
            due_s = max(due_s + EVERY_S, now_s)
    return beats


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(int(sys.argv[1]))))
