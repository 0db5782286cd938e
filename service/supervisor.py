"""Keeps one child process alive: starts it, starts it again when it dies, ends it when asked.

A child is told by a pipe on its standard input: the first line is JSON with all it needs to know, and the end of the
pipe, which also comes when this process is killed, tells it to end.
"""

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson
import structlog

log = structlog.get_logger()

_FAST_TRIES = 3
_SLOW_RETRY_S = 10.0


class Supervisor:
    """One supervised child, watched by a thread of this process.

    Args:
        module: run as `python -m module`.
        brief: the JSON line that the child reads first.
        environment: added to this process's own.
        pass_fds: descriptors that the child inherits.
        came_up: whether the child of this process id got as far as to work; its death then starts the count anew.
        on_death: called with the process id of a child that ended unasked.
        on_give_up: called with the reason when three tries in a row did not come up; it is tried on, but slowly.

    """

    def __init__(
        self,
        module: str,
        brief: Mapping[str, Any],
        *,
        environment: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
        came_up: Callable[[int], bool],
        on_death: Callable[[int], None] = lambda pid: None,
        on_give_up: Callable[[str], None],
    ) -> None:
        self._command = [sys.executable, "-m", module]
        self._brief = orjson.dumps(dict(brief)) + b"\n"
        self._environment = {**os.environ, **(environment or {})}
        self._pass_fds = tuple(pass_fds)
        self._came_up = came_up
        self._on_death = on_death
        self._on_give_up = on_give_up
        self._name = module.rpartition(".")[2]
        self._stopping = threading.Event()
        self._spawning = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._watch, name=f"supervise-{self._name}", daemon=True)

    def start(self) -> None:
        """Start the child and watch it."""
        self._spawn()
        self._thread.start()

    @property
    def pid(self) -> int | None:
        """The child's process id while it lives."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def signal(self, number: int) -> None:
        """Send the child a signal and start no other; a child that is gone already is no error."""
        with self._spawning:
            self._stopping.set()
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    def stop(self, timeout_s: float) -> int | None:
        """End the child by its pipe and wait; kill it after `timeout_s`. Its exit status."""
        with self._spawning:
            self._stopping.set()
        process = self._process
        if process is None:
            return None
        with contextlib.suppress(OSError):
            assert process.stdin is not None
            process.stdin.close()
        status = self.wait(timeout_s)
        if status is None:
            log.warning("child killed", child=self._name, pid=process.pid, after_s=timeout_s)
            process.kill()
            status = process.wait()
        self._thread.join(timeout=1)
        return status

    def wait(self, timeout_s: float) -> int | None:
        """The child's exit status, or None if it still lives after `timeout_s`."""
        assert self._process is not None
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def _spawn(self) -> None:
        with self._spawning:
            if not self._stopping.is_set():
                self._process = self._briefed_child()

    def _briefed_child(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(self._command, stdin=subprocess.PIPE, env=self._environment, pass_fds=self._pass_fds)
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(self._brief)
            process.stdin.flush()
        return process

    def _watch(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            assert self._process is not None
            status = self._process.wait()
            if self._stopping.is_set():
                return
            assert self._process.stdin is not None
            with contextlib.suppress(OSError):
                self._process.stdin.close()
            failures = 0 if self._came_up(self._process.pid) else failures + 1
            log.error("child died", child=self._name, pid=self._process.pid, status=status, failures=failures)
            self._on_death(self._process.pid)
            if failures >= _FAST_TRIES:
                self._on_give_up(f"The {self._name} ended {failures} times before it was up; last status {status}.")
                self._stopping.wait(_SLOW_RETRY_S)
            self._spawn()
