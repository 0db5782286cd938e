"""What a worker measures."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from service.job import Outcome
from service.metrics.buckets import JOBS, RATIO, SCORE_ELEMENTS, SECONDS
from service.metrics.counters import counter_of

if TYPE_CHECKING:
    from service.batcher import Batch, Batcher


class WorkerMetrics:
    """Counts of a worker."""

    def __init__(self) -> None:
        registry = CollectorRegistry()

        def histogram(name: str, text: str, buckets: Sequence[float]) -> Histogram:
            return Histogram(f"attnloss_{name}", text, buckets=buckets, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"attnloss_{name}", text, labels, registry=registry, multiprocess_mode="livesum")

        self._queue_jobs = gauge("queue_jobs", "Jobs that wait.")
        self._queue_cost = gauge("queue_cost", "Score elements of the jobs that wait.")
        self._told = (-1, -1)
        self._batch_jobs = histogram("batch_jobs", "Jobs of a batch.", JOBS)
        self._batch_cost = histogram("batch_cost", "Score elements of a batch, padding included.", SCORE_ELEMENTS)
        self._batch_seconds = histogram("batch_seconds", "Seconds that a batch took to compute.", SECONDS)
        self._padding = histogram("padding_ratio", "Part of a batch's score elements that is padding.", RATIO)
        self._splits = counter_of(
            "batch_splits", "Batches computed again in parts, by cause.", "cause", ("memory", "failure"), registry
        )
        self._outcomes = Counter("attnloss_outcomes", "Outcomes by kind.", ["kind"], registry=registry)
        self._memory = gauge("device_memory_bytes", "Memory of a worker's device, by kind.", "device", "kind")

    def waiting(self, batcher: "Batcher", untokenised: int, ahead: "Batch | None") -> None:
        """Set how many jobs wait, and their cost, which texts have once they are tokenised."""
        jobs, cost = len(batcher) + untokenised, batcher.cost
        if ahead is not None:
            jobs, cost = jobs + len(ahead), cost + ahead.cost
        if (jobs, cost) != self._told:
            self._told = (jobs, cost)
            self._queue_jobs.set(jobs)
            self._queue_cost.set(cost)

    def split(self, cause: str) -> None:
        """Count a batch that is computed again in parts: for want of memory, or since a job failed."""
        self._splits.labels(cause).inc()

    def computed(self, batch: "Batch", outcomes: Sequence[Outcome], seconds: float) -> None:
        """Observe a batch and its outcomes."""
        self._batch_jobs.observe(len(batch))
        self._batch_cost.observe(batch.cost)
        self._batch_seconds.observe(seconds)
        self._padding.observe(1 - min(sum(job.cost for job in batch.jobs) / batch.cost, 1.0))
        kinds = ["result" if outcome.error is None else outcome.error["slug"] for outcome in outcomes]
        for kind in set(kinds):
            self._outcomes.labels(kind).inc(kinds.count(kind))

    def memory(self, device: str, size_bytes: Mapping[str, int]) -> None:
        """Set what is `used` of the device's memory, `reserved` by the allocator, and there in `total`."""
        for kind, size in size_bytes.items():
            self._memory.labels(device, kind).set(size)
