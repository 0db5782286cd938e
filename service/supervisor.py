"""Keeps one child process alive: starts it, starts it again when it dies or hangs, ends it when asked.

A child is told by a pipe on its standard input: the first line is JSON with all it needs to know, and the end of the
pipe tells it to end. It also comes when this process is killed, without the line `end` before it.
"""

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import structlog

from service.children import Process, Started, Template, can_fork
from service.settings import SECRETS

log = structlog.get_logger()

END = b"end\n"
"""What a child is told before its pipe is closed in order; without it, this process was killed."""

START_WITHIN_S = 120.0
"""A child that is not up after so long is killed."""

_FAST_TRIES = 3
_SLOW_RETRY_S = 10.0
_LOOK_EVERY_S = 0.5
_PAUSE_S = 1.0


@dataclass(frozen=True)
class Child:
    """What is supervised, and what is asked about it.

    `module` has a function `main`; `came_up` tells whether the child of a process id got as far as to work, after
    which its death starts the count of failures anew; `trouble` says in a sentence why a child that lives should be
    replaced; `forks` lets it be forked from a process that has the module loaded, where that can be.
    """

    module: str
    brief: Mapping[str, Any]
    came_up: Callable[[int], bool]
    environment: Mapping[str, str] | None = None
    pass_fds: Sequence[int] = ()
    trouble: Callable[[int], str | None] = lambda pid: None
    forks: bool = False

    @property
    def name(self) -> str:
        """The last part of the module's name."""
        return self.module.rpartition(".")[2]


class Supervisor:
    """One supervised child, started and watched by a thread of this process.

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
        self._process: Process | None = None
        self._began_s = 0.0
        self._template: Template | None = None
        self._forking = False
        self._no_template_before_s = 0.0
        self._thread = threading.Thread(target=self._watch, name=f"supervise-{child.name}", daemon=True)

    def start(self) -> None:
        """Start the child and watch it."""
        self._keep_template()
        self._thread.start()

    @property
    def pid(self) -> int | None:
        """The child's process id while it lives."""
        process = self._process
        return process.pid if process is not None and process.wait(0) is None else None

    def end(self) -> None:
        """Tell the child to end, and start no other."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        if self._template is not None and self._forking:
            self._template.close()  # it is loading, and the thread waits for it
        with self._spawning:
            if self._process is not None:
                self._process.tell(END)
                self._process.close()

    def stop(self, timeout_s: float) -> int | None:
        """End the child and wait; kill it after `timeout_s`. Its exit status; None if it was never started."""
        self.end()
        process, status = self._process, None
        if process is not None:
            status = process.wait(timeout_s)
            if status is None:
                log.warning("child killed", child=self._child.name, pid=process.pid, after_s=timeout_s)
                process.kill()
                status = process.wait(_SLOW_RETRY_S)
        self._thread.join(timeout=1)
        if self._template is not None:
            self._template.close()
        return status

    def _environment(self) -> dict[str, str]:
        secrets = {f"ATTNLOSS_{name.upper()}" for name in SECRETS}
        inherited = {name: value for name, value in os.environ.items() if name not in secrets}
        return inherited | dict(self._child.environment or {})

    def _spawn(self) -> bool:
        """Start the child; false if that failed, or all is to stop."""
        with self._spawning:
            if self._stopping.is_set():
                return False
            try:
                process = self._forked() or Started(self._child.module, self._environment(), self._child.pass_fds)
            except OSError as error:  # no memory, no descriptors, no process ids
                if not self._stopping.is_set():
                    log.error("child cannot be started", child=self._child.name, why=str(error))
                return False
            process.tell(orjson.dumps(dict(self._child.brief)) + b"\n")
            self._began_s = time.monotonic()
            self._process = process
            return True

    def _forked(self) -> Process | None:
        """A child of the template; None if there is none any more. Raises OSError if all is to stop."""
        if self._template is None:
            return None
        self._forking = True
        try:
            return self._template.fork()
        except (OSError, ValueError) as error:
            if self._stopping.is_set():
                raise OSError("stopping") from None
            log.warning("template lost", child=self._child.name, why=str(error))
            self._template.close()
            return None
        finally:
            self._forking = False

    def _watch(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            status: int | None = None
            if self._spawn():
                assert self._process is not None
                process = self._process
                status = self._ended(process)
                if self._stopping.is_set():
                    return
                with self._spawning:
                    process.close()
                failures = 0 if self._child.came_up(process.pid) else failures + 1
                log.error("child died", child=self._child.name, pid=process.pid, status=status, failures=failures)
                self._on_death(process.pid)
            elif not self._stopping.wait(_PAUSE_S):
                failures += 1
            if failures >= _FAST_TRIES:
                tries = f"The {self._child.name} ended {failures} times before it was up"
                self._on_give_up(f"{tries}; last status {status}.")
                self._stopping.wait(_SLOW_RETRY_S)

    def _ended(self, process: Process) -> int | None:
        """Its exit status once it ended, by itself or because it was in trouble; None when all is to stop."""
        while (status := process.wait(_LOOK_EVERY_S)) is None:
            if self._stopping.is_set():
                return None
            trouble = self._child.trouble(process.pid)
            if time.monotonic() - self._began_s > START_WITHIN_S and not self._child.came_up(process.pid):
                trouble = f"not up after {START_WITHIN_S:g} s"
            if trouble is not None:
                log.error("child hangs", child=self._child.name, pid=process.pid, why=trouble)
                process.kill()
            else:
                self._keep_template()
        return status

    def _keep_template(self) -> None:
        """Have a process to fork from; one that died is replaced after a while."""
        if not (self._child.forks and can_fork()) or (self._template is not None and self._template.alive):
            return
        if time.monotonic() < self._no_template_before_s:
            return
        with self._spawning:
            if not self._stopping.is_set():
                if self._template is not None:
                    self._template.close()
                self._no_template_before_s = time.monotonic() + _SLOW_RETRY_S
                try:
                    self._template = Template(self._child.module, self._environment())
                except OSError as error:
                    self._template = None
                    log.error("template cannot be started", child=self._child.name, why=str(error))
