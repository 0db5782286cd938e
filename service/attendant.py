"""The thread of a worker that never computes: by it others see that the worker lives, and hear from it meanwhile."""

import threading
import time
from collections.abc import Callable

import structlog

from service.pulse import Pulse

log = structlog.get_logger()

_ATTENDANCE_S = 0.25
_LOOK_EVERY_S = 2.0


class Attendant:
    """Runs from `start` to `stop`.

    Args:
        pulse: given a beat every time.
        attend: called every time, for what must not wait until a computation is over.
        look: called now and then, for what is measured.

    """

    def __init__(self, pulse: Pulse, attend: Callable[[], None], look: Callable[[], None]) -> None:
        self._pulse = pulse
        self._attend = attend
        self._look = look
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="attendant", daemon=True)

    def start(self) -> None:
        """Give the first beat, and go on."""
        self._pulse.beat()
        self._thread.start()

    def stop(self) -> None:
        """Stop, and wait for it."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        look_at_s = 0.0
        while not self._ended.wait(_ATTENDANCE_S):
            self._pulse.beat()
            self._attend()
            if time.monotonic() >= look_at_s:
                try:
                    self._look()
                except Exception:  # what is measured is not worth the heartbeat
                    log.exception("not measured")
                look_at_s = time.monotonic() + _LOOK_EVERY_S
