"""Real server processes to send requests to, and what their answers should be, in numpy and float64."""

import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest

ROOT = Path(__file__).resolve().parents[1]
START_WITHIN_S = 60.0
"""When a server is given up: the first start on a machine reads torch from a cold disk."""
STOP_WITHIN_S = 30.0

QUERY = [[1.0, 0.0], [0.0, 1.0]]
GOOD = {"query": QUERY, "key": QUERY, "value": [[1.0, 2.0], [3.0, 4.0]]}
GOOD_WEIGHT = 0.66976155  # 1 / (1 + exp(-1/√2))


class Server:
    """One server: its process, a client of it, and its log."""

    def __init__(self, directory: Path, command: list[str], settings: dict[str, Any]) -> None:
        own = {f"ATTNLOSS_{name.upper()}": str(value) for name, value in settings.items()}
        self.runs = directory / "runs"
        self.runs.mkdir()
        own.setdefault("ATTNLOSS_RUN_DIRECTORY", str(self.runs))
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ATTNLOSS_")}
        self.log = directory / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=ROOT,
                env=kept | own,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.while_starting: httpx.Response | None = None
        self.port = self._until(self._logged_port, "the port in the log")
        self.client = self.make_client()

    def make_client(self, **options: Any) -> httpx.Client:
        """Another client, for another thread."""
        options = {"timeout": 60.0, "limits": httpx.Limits(max_keepalive_connections=64)} | options
        return httpx.Client(base_url=f"http://127.0.0.1:{self.port}", trust_env=False, **options)

    def wait_ready(self) -> "Server":
        """Until it is ready; what it answers to a request before that is kept in `while_starting`."""
        self._until(lambda: self._status("/health/live") == 200, "live")
        while self._status("/health/ready") != 200:
            answer = self.client.post("/attention", json=GOOD)
            self.while_starting = answer if answer.status_code != 200 else self.while_starting
            self._until(lambda: True, "ready")
            time.sleep(0.05)
        return self

    def post(self, path: str, body: Any, **options: Any) -> dict[str, Any]:
        """The answer to a request that must succeed."""
        answer = self.client.post(path, json=body, **options)
        assert answer.status_code == 200, answer.text[:500]
        return dict(answer.json())

    def is_right(self) -> None:
        """A good request gets its right answer."""
        answer = self.post("/attention", GOOD)
        assert answer["weights"][0][0] == pytest.approx(GOOD_WEIGHT, abs=1e-6)

    def processes(self) -> list[psutil.Process]:
        """The server's process and all below it."""
        parent = psutil.Process(self.process.pid)
        return [parent, *parent.children(recursive=True)]

    def worker_pid(self) -> int:
        """The worker's process id, as /health/ready tells it."""
        return int(self.client.get("/health/ready").json()["workers"][0]["pid"])

    @contextlib.contextmanager
    def send_raw(self, data: bytes) -> Iterator[socket.socket]:
        """A connection on which these bytes were sent."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            connection.sendall(data)
            yield connection

    def terminate(self) -> int:
        """Its exit status after SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_WITHIN_S)

    def close(self) -> None:
        """End whatever is left of it."""
        if hasattr(self, "client"):
            self.client.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def _logged_port(self) -> int | None:
        found = re.search(r"(?:http://[\w.]+|127\.0\.0\.1):(\d+)", self.log.read_text(errors="replace"))
        return int(found[1]) if found else None

    def _status(self, path: str) -> int:
        try:
            return self.client.get(path, timeout=2).status_code
        except httpx.TransportError:
            return 0

    def _until(self, condition: Callable[[], Any], what: str) -> Any:
        self._give_up_s = getattr(self, "_give_up_s", time.monotonic() + START_WITHIN_S)
        while True:
            assert self.process.poll() is None, f"ended with {self.process.poll()}:\n{self.log.read_text()}"
            assert time.monotonic() < self._give_up_s, f"no {what}:\n{self.log.read_text()}"
            if found := condition():
                return found
            time.sleep(0.03)


@contextlib.contextmanager
def server_starter(
    directories: pytest.TempPathFactory, usual: Sequence[str] = ("service.cli", "serve", "--port", "0")
) -> Iterator[Callable[..., Server]]:
    """Starts servers with other settings or another command; what is left of them ends with the context."""
    servers: list[Server] = []

    def start(command: list[str] | None = None, *, wait: bool = True, **settings: Any) -> Server:
        command = command or list(usual)
        server = Server(directories.mktemp("server"), command, {"processes": 1, "models": ""} | settings)
        servers.append(server)
        return server.wait_ready() if wait else server

    yield start
    for server in servers:
        server.close()


def running(server: Server, module: str) -> list[psutil.Process]:
    """The server's processes that run this module; a worker runs what it was forked from."""
    found = []
    for process in server.processes():
        with contextlib.suppress(psutil.NoSuchProcess):
            found += [process] if module in process.cmdline() else []
    return found


def workers(server: Server) -> list[psutil.Process]:
    """The server's workers: the children of its templates."""
    templates = {process.pid for process in running(server, "service.template")}
    return [process for process in running(server, "service.template") if process.ppid() in templates]


def total(metrics: str, name: str) -> float:
    """The sum of a metric's samples."""
    return sum(float(line.rpartition(" ")[2]) for line in metrics.splitlines() if line.startswith(name))


def answer_on(connection: socket.socket) -> httpx.Response:
    """The answer that comes on a raw connection."""
    raw = http.client.HTTPResponse(connection)
    raw.begin()
    with raw:
        return httpx.Response(raw.status, headers=raw.getheaders(), content=raw.read())


def assert_problem(answer: httpx.Response, status: int, *words: str) -> None:
    """The answer is a problem document of this status whose detail holds these words."""
    assert answer.status_code == status, answer.text[:500]
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert problem["status"] == status
    assert all(problem[name] and isinstance(problem[name], str) for name in ("type", "title", "detail"))
    for word in words:
        assert word in problem["detail"], problem["detail"]


def attend(
    query: Any,
    key: Any,
    value: Any = None,
    *,
    mask: Any = True,
    causal: bool = False,
    scale: float | None = None,
    key_lengths: Any = None,
    query_lengths: Any = None,
) -> dict[str, np.ndarray]:
    """Weights and statistics as design section 4 defines them, in float64 and in the rank of the query."""
    query, key = np.asarray(query, np.float64), np.asarray(key, np.float64)
    rank, query, key = query.ndim, in_rank_4(query), in_rank_4(key)
    repeats = query.shape[1] // key.shape[1]
    key = np.repeat(key, repeats, 1)
    scores = query @ key.swapaxes(-1, -2) * (scale if scale is not None else query.shape[-1] ** -0.5)
    batch, _, n, m = scores.shape
    ns = np.array(query_lengths if query_lengths is not None else [n] * batch)[:, None, None, None]
    ms = np.array(key_lengths if key_lengths is not None else [m] * batch)[:, None, None, None]
    rows, columns = np.arange(n)[:, None], np.arange(m)
    allowed = (rows < ns) & (columns < ms) & (in_rank_4(np.asarray(mask)) if np.ndim(mask) else True)
    if causal:
        allowed = allowed & (columns <= rows + ms - ns)
    allowed = np.broadcast_to(allowed, scores.shape)
    largest = np.where(allowed, scores, -np.inf).max(-1, keepdims=True)
    largest = np.where(np.isfinite(largest), largest, 0)
    powers = np.where(allowed, np.exp(np.minimum(scores - largest, 0)), 0)
    totals = powers.sum(-1, keepdims=True)
    weights = powers / np.where(totals == 0, 1, totals)
    logs = np.log(np.where(weights == 0, 1, weights))
    with np.errstate(divide="ignore"):
        lse = (np.log(totals) + largest)[..., 0]
    found = {
        "weights": weights,
        "lse": lse,
        "entropy": -(weights * logs).sum(-1),
        "max": weights.max(-1),
        "received": weights.sum(-2),
    }
    if value is not None:
        found["output"] = weights @ np.repeat(in_rank_4(np.asarray(value, np.float64)), repeats, 1)
    place = {2: (0, 0), 3: (slice(None), 0), 4: ()}[rank]
    return {name: array[place] for name, array in found.items()}


def in_rank_4(array: np.ndarray) -> np.ndarray:
    """Batch and heads in front, of size 1 where there were none."""
    if array.ndim == 3:
        return array[:, None]
    return array.reshape((1,) * (4 - array.ndim) + array.shape)
