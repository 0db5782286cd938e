"""One API process of `attnloss serve`: `python -m service.api_process`, briefed on standard input by its parent."""

import contextlib
import gc
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import orjson
import uvicorn

from service.app import create_app
from service.protocol import limited_protocol
from service.rundir import RunDirectory
from service.settings import Settings


class Server(uvicorn.Server):
    """Ends by SIGTERM, which its parent sends, with status 0; Ctrl-C goes to the parent."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install the handlers; unlike uvicorn's own, does not raise the signal again at the end."""
        signal.signal(signal.SIGTERM, self.handle_exit)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        yield


def main() -> None:
    """Serve until SIGTERM, or until the parent is gone."""
    brief = orjson.loads(sys.stdin.buffer.readline())
    settings = Settings.model_validate(brief["settings"])
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(Path(brief["directory"]) / "metrics")
    directory = RunDirectory(Path(brief["directory"]))
    app = create_app(settings, directory=directory)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        ws="none",
        http=limited_protocol(settings.max_header_bytes),
        proxy_headers=False,
        timeout_graceful_shutdown=max(1, round(settings.drain_s)),
        backlog=2048,
    )
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    gc.freeze()  # what was imported stays: the collector need not look at it again
    gc.set_threshold(10_000, 20, 20)
    Server(config).run(sockets=[socket.socket(fileno=brief["fd"])])


def _end_with_stdin() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
