"""Keeps one child process alive: starts it, starts it again when it dies or hangs, ends it when asked.

A child is told by a pipe on its standard input: the first line is JSON with all it needs to know, and the end of the
pipe, which also comes when this process is killed, tells it to end. The second line tells it to begin: a child that
may be a spare only prepares until then.
"""

import contextlib
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import structlog

log = structlog.get_logger()

START_WITHIN_S = 120.0
"""A child that is not up after so long is killed."""

_FAST_TRIES = 3
_SLOW_RETRY_S = 10.0
_LOOK_EVERY_S = 0.5
_GO = b"go\n"


@dataclass(frozen=True)
class Child:
    """What is supervised, and what is asked about it.

    `command` is what Python runs, as in `-m module`; `came_up` tells whether the child of a process id got as far as
    to work, after which its death starts the count of failures anew; `trouble` says in a sentence why a child that
    lives should be replaced; `spare` keeps a second child, prepared, to take over at once.
    """

    module: str
    brief: Mapping[str, Any]
    came_up: Callable[[int], bool]
    environment: Mapping[str, str] | None = None
    pass_fds: Sequence[int] = ()
    trouble: Callable[[int], str | None] = lambda pid: None
    spare: bool = False

    @property
    def name(self) -> str:
        """The last part of the module's name."""
        return self.module.rpartition(".")[2]


class Supervisor:
    """One supervised child, watched by a thread of this process.

    Args:
        child: what is run.
        on_death: called with the process id of a child that ended unasked.
        on_give_up: called with the reason when three tries in a row did not come up; it is tried on, but slowly.

    """

    def __init__(
        self,
        child: Child,
        *,
        on_death: Callable[[int], None] = lambda pid: None,
        on_give_up: Callable[[str], None],
    ) -> None:
        self._child = child
        self._on_death = on_death
        self._on_give_up = on_give_up
        self._stopping = threading.Event()
        self._spawning = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._began_s = 0.0
        self._spare: subprocess.Popen[bytes] | None = None
        self._no_spare_before_s = 0.0
        self._thread = threading.Thread(target=self._watch, name=f"supervise-{child.name}", daemon=True)

    def start(self) -> None:
        """Start the child and watch it."""
        self._spawn()
        self._thread.start()

    @property
    def pid(self) -> int | None:
        """The child's process id while it lives."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def end(self) -> None:
        """Tell the child to end, and start no other. A spare goes first: it has nothing to finish."""
        with self._spawning:
            self._stopping.set()
        for process in (self._spare, self._process):
            if process is not None:
                _close_pipe(process)

    def wait(self, timeout_s: float) -> int | None:
        """The child's exit status, or None if it still lives after `timeout_s`."""
        assert self._process is not None
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def stop(self, timeout_s: float) -> int | None:
        """End the child and wait; kill it after `timeout_s`. Its exit status."""
        self.end()
        if self._process is None:
            return None
        status = self.wait(timeout_s)
        if status is None:
            log.warning("child killed", child=self._child.name, pid=self._process.pid, after_s=timeout_s)
            self._process.kill()
            status = self._process.wait()
        if self._spare is not None:
            self._spare.kill()
            self._spare.wait()
        self._thread.join(timeout=1)
        return status

    def _spawn(self) -> None:
        """Put the spare to work, or start a child if there is none."""
        with self._spawning:
            if self._stopping.is_set():
                return
            spare, self._spare = self._spare, None
            if spare is None or spare.poll() is not None:
                spare = self._prepared()
            _tell(spare, _GO)
            self._began_s = time.monotonic()
            self._process = spare

    def _prepared(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", self._child.module],
            stdin=subprocess.PIPE,
            env={**os.environ, **(self._child.environment or {})},
            pass_fds=tuple(self._child.pass_fds),
        )
        _tell(process, orjson.dumps(dict(self._child.brief)) + b"\n")
        return process

    def _watch(self) -> None:
        failures = 0
        while True:
            assert self._process is not None
            process = self._process
            status = self._ended(process)
            if self._stopping.is_set():
                return
            _close_pipe(process)
            failures = 0 if self._child.came_up(process.pid) else failures + 1
            log.error("child died", child=self._child.name, pid=process.pid, status=status, failures=failures)
            self._on_death(process.pid)
            if failures >= _FAST_TRIES:
                tries = f"The {self._child.name} ended {failures} times before it was up"
                self._on_give_up(f"{tries}; last status {status}.")
                self._stopping.wait(_SLOW_RETRY_S)
            self._spawn()
            if self._stopping.is_set():
                return

    def _ended(self, process: subprocess.Popen[bytes]) -> int | None:
        """Its exit status once it ended, by itself or because it was in trouble; None when all is to stop."""
        while (status := _status_within(process, _LOOK_EVERY_S)) is None:
            if self._stopping.is_set():
                return None
            up = self._child.came_up(process.pid)
            trouble = self._child.trouble(process.pid)
            if not up and time.monotonic() - self._began_s > START_WITHIN_S:
                trouble = f"not up after {START_WITHIN_S:g} s"
            if trouble is not None:
                log.error("child hangs", child=self._child.name, pid=process.pid, why=trouble)
                process.kill()
            elif up and self._child.spare:
                self._keep_spare()
        return status

    def _keep_spare(self) -> None:
        with self._spawning:
            if self._stopping.is_set() or time.monotonic() < self._no_spare_before_s:
                return
            if self._spare is None:
                self._spare = self._prepared()
            elif self._spare.poll() is not None:
                log.warning("spare died", child=self._child.name, status=self._spare.returncode)
                self._no_spare_before_s = time.monotonic() + _SLOW_RETRY_S
                self._spare = None


def _status_within(process: subprocess.Popen[bytes], timeout_s: float) -> int | None:
    """Its exit status, or None if it lives on; without the polling of Popen.wait where the kernel tells."""
    if process.poll() is None and hasattr(os, "pidfd_open"):
        with contextlib.suppress(ProcessLookupError):
            descriptor = os.pidfd_open(process.pid)
            try:
                poll = select.poll()
                poll.register(descriptor, select.POLLIN)
                poll.poll(1e3 * timeout_s)
            finally:
                os.close(descriptor)
        return process.poll()
    try:
        return process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        return None


def _tell(process: subprocess.Popen[bytes], line: bytes) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(line)
        process.stdin.flush()


def _close_pipe(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    with contextlib.suppress(OSError):
        process.stdin.close()
