"""What is measured, for Prometheus. Every process writes to files of the run directory; /metrics adds them up.

prometheus-client reads PROMETHEUS_MULTIPROC_DIR when it is imported, so it must be set before this module is.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from service.job import Outcome

if TYPE_CHECKING:
    from service.batcher import Batch

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_JOBS = (1, 2, 4, 8, 16, 32, 64, 128)


class ApiMetrics:
    """Counts of an API process."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self._requests = Counter(
            "attnloss_requests", "Requests by route and status.", ["route", "status"], registry=registry
        )
        self._stages = Histogram(
            "attnloss_stage_seconds",
            "Seconds of a request by stage: decode, queue, compute, encode.",
            ["route", "stage"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._admitted = Gauge(
            "attnloss_admitted_requests",
            "Requests that hold a place now.",
            registry=registry,
            multiprocess_mode="livesum",
        )

        self._counter = cache(self._requests.labels)
        self._histogram = cache(self._stages.labels)

    def answered(self, route: str, status: int) -> None:
        """Count a request."""
        self._counter(route, str(status)).inc()

    def stages(self, route: str, seconds: Mapping[str, float]) -> None:
        """Observe where a request spent its time."""
        for stage, spent_s in seconds.items():
            self._histogram(route, stage).observe(spent_s)

    def admitted(self, jobs: int) -> None:
        """Set how many requests hold a place."""
        self._admitted.set(jobs)


class WorkerMetrics:
    """Counts of a worker."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self._waiting = Gauge("attnloss_queue_jobs", "Jobs that wait.", registry=registry, multiprocess_mode="livesum")
        self._told = -1
        self._batch_jobs = Histogram("attnloss_batch_jobs", "Jobs of a batch.", buckets=_JOBS, registry=registry)
        self._batch_cost = Histogram(
            "attnloss_batch_cost",
            "Score elements of a batch, padding included.",
            buckets=tuple(4**k for k in range(4, 16)),
            registry=registry,
        )
        self._splits = Counter(
            "attnloss_batch_splits", "Batches computed again in parts, by cause.", ["cause"], registry=registry
        )
        self._outcomes = Counter("attnloss_outcomes", "Outcomes by kind.", ["kind"], registry=registry)

    def waiting(self, jobs: int) -> None:
        """Set how many jobs wait."""
        if jobs != self._told:
            self._told = jobs
            self._waiting.set(jobs)

    def split(self, cause: str) -> None:
        """Count a batch that is computed again in parts: for want of memory, or since a job failed."""
        self._splits.labels(cause).inc()

    def computed(self, batch: "Batch", outcomes: Sequence[Outcome]) -> None:
        """Observe a batch and its outcomes."""
        self._batch_jobs.observe(len(batch))
        self._batch_cost.observe(batch.cost)
        kinds = ["result" if outcome.error is None else outcome.error["slug"] for outcome in outcomes]
        for kind in set(kinds):
            self._outcomes.labels(kind).inc(kinds.count(kind))


def exposition(directory: str) -> bytes:
    """The text that Prometheus reads, of all processes that share the directory."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=directory)  # type: ignore[no-untyped-call]  # untyped there
    return generate_latest(registry)
