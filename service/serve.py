"""`attnloss serve`: one parent that binds the port and keeps the worker and the API processes alive."""

import os
import signal
import socket
import time
from collections.abc import Callable
from types import FrameType

import structlog

from service.keys import ApiKeys, configured_keys
from service.logs import configure_logs
from service.ownership import HEAP_ENVIRONMENT, on_death, worker_supervisors
from service.rundir import RunDirectory
from service.settings import Settings
from service.supervisor import Child, Supervisor
from service.traces import check_traces

log = structlog.get_logger()

_WORKER_END_S = 5.0
_REFUSALS_S = 5.0
"""What an API process may need to refuse the rest, after the time to drain."""


def serve(settings: Settings, worker_module: str = "service.worker_main") -> int:
    """Serve until SIGTERM or Ctrl-C, finish what was admitted, and return 0 if every process ended by itself.

    Raises:
        OSError: the port is taken, the run directory cannot be made, or the file of API keys cannot be read.
        ValueError: a setting cannot be fulfilled.

    """
    keys = configured_keys(settings)
    ApiKeys(keys)
    if keys:  # read once: a process that is replaced gets what the others have
        settings = settings.model_copy(update={"api_keys": ",".join(keys), "api_keys_file": None})
    check_traces(settings)
    configure_logs(settings.log_level, settings.log_format)
    stopped, stop_pipe = os.pipe()
    os.set_blocking(stop_pipe, False)
    # The pipe is written to in C, as soon as the signal comes: a handler in Python would not run until a read that has
    # just begun returns.
    signal.set_wakeup_fd(stop_pipe)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _noted)
    listener = _bind(settings)
    directory = RunDirectory.open(settings.run_directory, str(os.getpid()))
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory.metrics)
    from service.metrics.parent import ParentMetrics  # reads the variable when it is imported

    restarted = ParentMetrics().restarted
    workers = worker_supervisors(directory, settings, restarted, worker_module)
    apis = [_api_supervisor(listener, directory, settings, restarted) for _ in range(settings.processes)]
    for child in (*workers, *apis):
        child.start()
    host, port = listener.getsockname()[:2]
    log.info("serving", url=f"http://{f'[{host}]' if ':' in host else host}:{port}", processes=settings.processes)
    try:
        os.read(stopped, 1)
    finally:
        status = _end(workers, apis, settings)
        listener.close()  # not before: who drains refuses new requests in words
        directory.close()
    log.info("served", status=status)
    return status


def _noted(number: int, frame: FrameType | None) -> None:
    """The signal has been written to the pipe."""


def _bind(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError:
        listener.close()
        raise
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # inherited by connections: one that takes nothing of its answer is ended
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(1e3 * settings.stalled_answer_s))
    listener.listen(2048)
    listener.set_inheritable(True)
    return listener


def _api_supervisor(
    listener: socket.socket, directory: RunDirectory, settings: Settings, restarted: Callable[[str], None]
) -> Supervisor:
    brief = {
        "settings": settings.model_dump(mode="json"),
        "directory": str(directory.path),
        "fd": listener.fileno(),
    }
    child = Child(
        "service.api_process",
        brief,
        came_up=lambda pid: directory.up(pid).exists(),
        environment=HEAP_ENVIRONMENT,
        pass_fds=[listener.fileno()],
    )
    return Supervisor(
        child,
        on_death=on_death(directory, restarted, "api"),
        on_give_up=lambda why: log.error("API process does not come up", why=why),
    )


def _end(workers: list[Supervisor], apis: list[Supervisor], settings: Settings) -> int:
    """End the API processes first, since they finish what they admitted, then the workers."""
    end_s = time.monotonic() + settings.drain_s + _REFUSALS_S
    for api in apis:
        api.end()
    statuses = [api.stop(max(end_s - time.monotonic(), 0.1)) for api in apis]
    for worker in workers:
        worker.end()
    for worker in workers:
        worker.stop(_WORKER_END_S)
    return 0 if all(status == 0 for status in statuses) else 1
