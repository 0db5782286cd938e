"""What a server looks like from outside: ready or not, its gauges, and what its processes hold."""

import contextlib
import threading
from collections.abc import Iterator

import httpx
import psutil

from tests.chaos.clients import until
from tests.serving import Server, total

GAUGES = ("attnloss_admitted_requests", "attnloss_queue_jobs")


def ready_pid(server: Server) -> int | None:
    """The worker's process id if the server says that it is ready."""
    answer: httpx.Response = server.client.get("/health/ready")
    return int(answer.json()["workers"][0]["pid"]) if answer.status_code == 200 else None


def until_ready(server: Server, *, without: int | None = None, within_s: float = 30.0) -> float:
    """Wait until it is ready with another worker than `without`; the seconds it took."""
    return until(lambda: ready_pid(server) not in (None, without), within_s)


def gauge(server: Server, name: str) -> float:
    """The sum of a metric's samples."""
    return total(server.client.get("/metrics").text, name)


def until_idle(server: Server, within_s: float = 40.0) -> float:
    """Wait until nothing is admitted and nothing waits; the seconds it took."""
    return until(lambda: all(gauge(server, name) == 0 for name in GAUGES), within_s)


def batches_over(server: Server, jobs: int) -> float:
    """How many batches of more than so many jobs were computed; `jobs` is an edge of the histogram."""
    metrics = server.client.get("/metrics").text
    return total(metrics, "attnloss_batch_jobs_count") - total(metrics, f'attnloss_batch_jobs_bucket{{le="{jobs}.0"}}')


def resident(server: Server) -> dict[int, int]:
    """Resident bytes of every process of the server, by process id."""
    found = {}
    for process in server.processes():
        with contextlib.suppress(psutil.NoSuchProcess):
            found[process.pid] = process.memory_info().rss
    return found


def held(server: Server) -> dict[int, tuple[int, int]]:
    """Descriptors and threads of every process of the server, by process id."""
    return {process.pid: (process.num_fds(), process.num_threads()) for process in server.processes()}


@contextlib.contextmanager
def peak_resident(server: Server, every_s: float = 0.1) -> Iterator[list[int]]:
    """One number that grows to the largest sum of resident bytes seen while the block runs."""
    peak = [sum(resident(server).values())]
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(every_s):
            peak[0] = max(peak[0], sum(resident(server).values()))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield peak
    finally:
        ended.set()
        thread.join()
