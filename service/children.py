"""Child processes, started afresh or forked from a template, behind one interface."""

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from typing import Protocol

_STATUS_WITHIN_S = 1.0
_FORK_WITHIN_S = 5.0
_LOAD_WITHIN_S = 120.0


class Process(Protocol):
    """A child: its standard input is a pipe of this process, by whose end it knows that it is to end."""

    pid: int

    def wait(self, timeout_s: float) -> int | None:
        """Its exit status, or None if it lives on after so long."""

    def kill(self) -> None:
        """End it at once."""

    def tell(self, line: bytes) -> None:
        """Write to its standard input; one that is gone or closed is no error."""

    def close(self) -> None:
        """End its standard input."""


class Started:
    """A child with an interpreter of its own."""

    def __init__(self, module: str, environment: Mapping[str, str], pass_fds: Sequence[int]) -> None:
        command = [sys.executable, "-m", module]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, env=dict(environment), pass_fds=pass_fds)
        self.pid = self._process.pid

    def wait(self, timeout_s: float) -> int | None:
        """Its exit status, or None if it lives on after so long."""
        status = self._process.poll()
        if status is not None or not _ended(self.pid, timeout_s):
            return status
        return self._process.wait()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def tell(self, line: bytes) -> None:
        """Write to its standard input; one that is gone or closed is no error."""
        assert self._process.stdin is not None
        if not self._process.stdin.closed:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.write(line)
                self._process.stdin.flush()

    def close(self) -> None:
        """End its standard input."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()


class Template:
    """A process that forks children: see `service.template`."""

    def __init__(self, module: str, environment: Mapping[str, str]) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, "-m", "service.template", module, str(theirs.fileno())]
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, env=dict(environment), pass_fds=[theirs.fileno()]
            )
        self._statuses: dict[int, int] = {}
        self._has_forked = False

    @property
    def alive(self) -> bool:
        """Whether it can fork."""
        return self._process.poll() is None

    def fork(self) -> "Forked":
        """A new child, as soon as the template has loaded. Raises OSError or ValueError if the template is gone."""
        ours, theirs = os.pipe()
        try:
            socket.send_fds(self._control, [b"fork"], [ours])
            pid, end_s = None, time.monotonic() + (_FORK_WITHIN_S if self._has_forked else _LOAD_WITHIN_S)
            while pid is None:
                if not _readable(self._control.fileno(), end_s - time.monotonic()):
                    raise TimeoutError("it does not answer")
                pid = self._heard()
            self._has_forked = True
            return Forked(pid, theirs, self)
        except (OSError, ValueError):  # ValueError: it was closed meanwhile
            os.close(theirs)
            raise
        finally:
            os.close(ours)

    def status_of(self, pid: int) -> int:
        """What a child that has ended ended with; −1 if the template can tell it no more."""
        end_s = time.monotonic() + _STATUS_WITHIN_S
        with contextlib.suppress(OSError, ValueError):  # it ended, or was closed
            while pid not in self._statuses and _readable(self._control.fileno(), end_s - time.monotonic()):
                self._heard()
        return self._statuses.pop(pid, -1)

    def _heard(self) -> int | None:
        """One message: the process id of a new child, or None if it told the end of another."""
        message = self._control.recv(64).split()
        if not message:
            raise ConnectionResetError("the template ended")
        if message[0] != b"exit":
            return int(message[0])
        self._statuses[int(message[1])] = int(message[2])
        return None

    def close(self) -> None:
        """End it; its children live on. A fork that is waited for ends in OSError."""
        self._process.kill()
        self._process.wait()
        self._control.close()


class Forked:
    """A child that a template forked. It is no child of this process, which sees its end by a descriptor of it."""

    def __init__(self, pid: int, pipe: int, template: Template) -> None:
        self.pid = pid
        self._pipe = pipe
        self._template = template
        self._descriptor = os.pidfd_open(pid)
        weakref.finalize(self, os.close, self._descriptor)
        self._status: int | None = None
        self._asking = threading.Lock()

    def wait(self, timeout_s: float) -> int | None:
        """Its exit status, or None if it lives on after so long."""
        if self._status is None and _readable(self._descriptor, timeout_s):
            with self._asking:
                self._status = self._template.status_of(self.pid) if self._status is None else self._status
        return self._status

    def kill(self) -> None:
        """End it at once."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)

    def tell(self, line: bytes) -> None:
        """Write to its standard input; one that is gone or closed is no error."""
        if self._pipe >= 0:
            with contextlib.suppress(BrokenPipeError):
                os.write(self._pipe, line)

    def close(self) -> None:
        """End its standard input."""
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1


def can_fork() -> bool:
    """Whether workers can be forked here: where processes have descriptors, which is Linux."""
    return hasattr(os, "pidfd_open")


def _ended(pid: int, timeout_s: float) -> bool:
    """Whether a child of this process ends within so long; without the polling of Popen.wait where the kernel tells."""
    if not hasattr(os, "pidfd_open"):
        time.sleep(timeout_s)
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return _readable(descriptor, timeout_s)
    finally:
        os.close(descriptor)


def _readable(descriptor: int, timeout_s: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(max(1e3 * timeout_s, 0)))
