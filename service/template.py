"""A process that has loaded everything and computed nothing: workers are forked from it and ready in a moment.

`python -m service.template MODULE FD`: imports the module, then forks a child that calls the module's `main` for every
message on the socket FD. The message carries the descriptor that becomes the child's standard input. Answers are the
child's process id, and `exit ID STATUS` when it ended. No thread may be started here, and no library that keeps any:
a fork copies the thread that forks and no other.
"""

import contextlib
import gc
import importlib
import os
import select
import signal
import socket
import sys
from typing import NoReturn


def main() -> None:
    """Fork until the other end of the socket is closed."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # a terminal sends them to the whole group
    control = socket.socket(fileno=int(sys.argv[2]))
    work = importlib.import_module(sys.argv[1]).main
    gc.freeze()  # or the collector would write to pages that are shared
    children: dict[int, int] = {}
    poll = select.poll()
    poll.register(control, select.POLLIN)
    while True:
        for descriptor, _ in poll.poll():
            if descriptor != control.fileno():
                poll.unregister(descriptor)
                _report(control, descriptor, children.pop(descriptor))
                continue
            message, descriptors, _, _ = socket.recv_fds(control, 16, 1)
            if not message:
                os._exit(0)
            if (pid := os.fork()) == 0:
                _become(work, control, descriptors[0], list(children))
            os.close(descriptors[0])
            watched = os.pidfd_open(pid)
            children[watched] = pid
            poll.register(watched, select.POLLIN)
            control.send(b"%d" % pid)


def _become(work: object, control: socket.socket, standard_input: int, others: list[int]) -> NoReturn:
    """Be the child, which never returns to the loop."""
    control.close()
    for descriptor in others:
        os.close(descriptor)
    os.dup2(standard_input, 0)
    os.close(standard_input)
    try:
        assert callable(work)
        work()
    finally:
        os._exit(1)  # it ends by itself; here it has raised


def _report(control: socket.socket, descriptor: int, pid: int) -> None:
    os.close(descriptor)
    _, status = os.waitpid(pid, 0)
    with contextlib.suppress(OSError):
        control.send(b"exit %d %d" % (pid, os.waitstatus_to_exitcode(status)))


if __name__ == "__main__":
    main()
