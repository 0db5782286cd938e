"""What a request costs each process of the ordinary server and of a Ray cluster of one node, as measured."""

import socket
import statistics
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import httpx
import psutil

from benchmarks import http, load
from benchmarks.scale_model import Load
from benchmarks.works import Work, request_bytes

MARKS = {
    "service.api_process": "ingress",
    "ray::ServeReplica:attnloss:ingress": "ingress",
    "ray::ServeReplica:attnloss:worker": "replica",
    "ray::ProxyActor": "proxy",
    "haproxy": "proxy",
    "service.template": "worker",
    "service.worker_main": "worker",
}
"""What a process is, by a part of its command line; all others are `rest`."""

SETTINGS = {"ATTNLOSS_PROCESSES": "1", "ATTNLOSS_MODELS": "", "ATTNLOSS_CPU_THREADS": "1"}


@dataclass(frozen=True)
class Server:
    """A server that is measured, and its processes."""

    name: str
    process: subprocess.Popen[bytes]
    port: int

    def cpu_s(self) -> dict[str, float]:
        """Seconds of a processor that its processes have used, by what they are."""
        used_s: dict[str, float] = defaultdict(float)
        for process in psutil.Process(self.process.pid).children(recursive=True):
            try:
                line, times = " ".join(process.cmdline()), process.cpu_times()
            except psutil.NoSuchProcess:
                continue
            used_s[next((kind for mark, kind in MARKS.items() if mark in line), "rest")] += times.user + times.system
        return used_s


@dataclass(frozen=True)
class Measured:
    """One server under one kind of work: requests per second, and processor seconds of each request."""

    rate: float
    cpu_s: dict[str, float]
    client_s: float
    stages_s: dict[str, float]


@contextmanager
def servers() -> Iterator[list[Server]]:
    """The ordinary server, and Ray clusters of one node, all up, with one process of each kind."""
    cluster = [http.SERVICE[0], "-m", "tests.ray.cluster"]
    commands = {
        "ordinary": http.SERVICE,
        "Ray": [*cluster, "--port"],
        "Ray, HAProxy": [*cluster, "--haproxy", "--port"],
    }
    with ExitStack() as stack:
        up = [Server(name, *stack.enter_context(http.serving(line, **SETTINGS))) for name, line in commands.items()]
        for server in up:
            http.await_ok(server.process, f"http://127.0.0.1:{server.port}/health/ready")
        yield up


def describe(work: Work, port: int) -> Load:
    """The work as the model sees it; its answer is asked for."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        load.prepare(connection)
        connection.sendall(request_bytes(work, 0))
        status, answer, _ = load.receive(connection, bytearray(1 << 20))
    if status != 200:
        raise RuntimeError(f"{work.name} is answered with status {status}: {bytes(answer)[:300]!r}")
    batch, heads, n, head_dim = work.shape
    return Load(len(work.request(0)[1]), len(answer), batch * heads * n * n, head_dim)


def measure(server: Server, work: Work, generator: Executor, warm_up_s: float, seconds: float) -> Measured:
    """Load a server until its cores are busy."""
    generator.submit(load.run, server.port, work, 0.0, warm_up_s).result()
    before_s = server.cpu_s()
    tally = generator.submit(load.run, server.port, work, 0.0, seconds).result()
    after_s = server.cpu_s()
    if wrong := http.check(work, tally):
        raise RuntimeError(f"{server.name}, {work.name}: {'; '.join(wrong)}")
    count = len(tally.latencies_s)
    cpu_s = {part: (after_s[part] - before_s[part]) / count for part in after_s}
    return Measured(tally.rate, cpu_s, tally.cpu_share * seconds / count, stages(server, work))


def stages(server: Server, work: Work, requests: int = 40) -> dict[str, float]:
    """Median seconds of each stage, one request at a time, as Server-Timing tells them."""
    lines, body = work.request(0)
    path = lines[0].split()[1]
    headers = dict(line.split(": ") for line in lines[1:])
    seen: dict[str, list[float]] = defaultdict(list)
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", headers=headers, trust_env=False) as client:
        for _ in range(requests):
            timing = client.post(path, content=body).raise_for_status().headers["server-timing"]
            for part in timing.split(", "):
                stage, _, spent_ms = part.partition(";dur=")
                seen[stage].append(float(spent_ms) * 1e-3)
    return {stage: statistics.median(spent_s) for stage, spent_s in seen.items()}
