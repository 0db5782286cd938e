"""One API process of `attnloss serve`: `python -m service.api_process`, briefed on standard input by its parent."""

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import uvicorn

from service.app import create_app
from service.envelope import Envelope
from service.errors import ServiceError
from service.protocol import bounded_protocol
from service.rundir import RunDirectory
from service.serving import serving
from service.settings import Settings
from service.state import ServiceState

_TICK_S = 0.25


class Server(uvicorn.Server):
    """Drains, then ends: while admitted requests are answered, new ones are refused with 503.

    Signals go to the parent, which closes this process's standard input.
    """

    def __init__(self, config: uvicorn.Config, envelope: Envelope, drain_s: float) -> None:
        super().__init__(config)
        self._envelope = envelope
        self._drain_s = drain_s
        self._drained_by_s: float | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take no signal: a terminal sends them to the whole group, and the parent says when to end."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        yield

    def _is_writing(self) -> bool:
        """Whether an answer is still on its way to a client that reads slowly."""
        connections: Iterable[Any] = self.server_state.connections
        return any(each.transport is not None and each.transport.get_write_buffer_size() for each in connections)

    async def main_loop(self) -> None:
        """Look around less often than uvicorn does, which keeps an idle server asleep."""
        seconds_due = 0  # on_tick counts tenths of seconds, and renews the Date header at each whole one
        while not await self.on_tick(seconds_due):
            await asyncio.sleep(_TICK_S)
            seconds_due += 10

    def drain(self) -> None:
        """Begin to end; any thread may call it."""
        self._drained_by_s = time.monotonic() + self._drain_s
        if self._envelope.state is not None:
            self._envelope.state.draining = True

    async def on_tick(self, counter: int) -> bool:
        """Whether to stop serving: once what was admitted has been answered, or its time is over."""
        if self._drained_by_s is not None:
            state = self._envelope.state
            assert state is not None
            state.draining = True
            state.admission.evict_all_stalled()
            busy = state.admission.jobs > 0 or self._is_writing()
            self.should_exit = not busy or time.monotonic() >= self._drained_by_s
        return await super().on_tick(counter)


class EnvelopeDoor:
    """Tells the application of connections, which there are only while it serves."""

    def __init__(self, envelope: Envelope, settings: Settings) -> None:
        self._envelope = envelope
        self._most = settings.max_connections

    @property
    def _state(self) -> ServiceState:
        assert self._envelope.state is not None
        return self._envelope.state

    def opened(self) -> int:
        """Count one more."""
        return self._state.admission.connected(1, self._most)

    def closed(self) -> None:
        """Count one less; the last may close after the application has ended."""
        if self._envelope.state is not None:
            self._state.admission.connected(-1, self._most)

    def refused(self, error: ServiceError) -> None:
        """Count a failure."""
        self._state.metrics.refused(error.status, error.slug)


def main() -> None:
    """Serve until the parent closes the pipe, or is gone."""
    brief = orjson.loads(sys.stdin.buffer.readline())
    settings = Settings.model_validate(brief["settings"])
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(Path(brief["directory"]) / "metrics")
    directory = RunDirectory.join(Path(brief["directory"]))
    app = create_app(settings, serving=partial(serving, directory=directory))
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        ws="none",
        http=bounded_protocol(settings, EnvelopeDoor(app, settings)),
        proxy_headers=False,
        timeout_graceful_shutdown=1,  # what was admitted has been answered, or its time is over
        backlog=2048,
    )
    server = Server(config, app, settings.drain_s)
    threading.Thread(target=_drain_with_stdin, args=(server,), daemon=True).start()
    gc.freeze()  # what was imported stays: the collector need not look at it again
    gc.set_threshold(10_000, 20, 20)
    server.run(sockets=[socket.socket(fileno=brief["fd"])])
    directory.close()


def _drain_with_stdin(server: Server) -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    server.drain()


if __name__ == "__main__":
    main()
