"""Asks /health/live every 20 ms until its standard input ends: `python -m tests.chaos.pulse PORT`.

It prints the largest latency in seconds, counted from when a question was due, and how many there were.
"""

import json
import selectors
import sys
import time

from tests.chaos.wire import Wire, get_bytes

EVERY_S = 0.02


def main(port: int) -> dict[str, float]:
    """Ask until the end."""
    ended = selectors.DefaultSelector()
    ended.register(sys.stdin, selectors.EVENT_READ)
    longest_s, count, due_s = 0.0, 0, time.monotonic()
    with Wire(port) as wire:
        while not ended.select(max(0.0, due_s - time.monotonic())):
            assert wire.ask(get_bytes("/health/live")).status == 200
            now_s = time.monotonic()
            longest_s, count, due_s = max(longest_s, now_s - due_s), count + 1, max(due_s + EVERY_S, now_s)
    return {"longest_s": longest_s, "count": count}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(int(sys.argv[1]))))
