"""What an API process measures."""

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram

from service.metrics.buckets import SECONDS
from service.metrics.counters import counter_of

if TYPE_CHECKING:
    from service.passage import Passage


class ApiMetrics:
    """Counts of an API process. `route` is a path as in /docs; `none` if it is none of the service's."""

    def __init__(self) -> None:
        registry = CollectorRegistry()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"attnloss_{name}", text, labels, registry=registry)

        def seconds(name: str, text: str, *labels: str) -> Histogram:
            return Histogram(f"attnloss_{name}_seconds", text, labels, buckets=SECONDS, registry=registry)

        self._requests = cache(counter("requests", "Requests by route and status.", "route", "status").labels)
        failures = counter("failures", "Requests that ended in an error, by its reason.", "route", "reason")
        self._failures = cache(failures.labels)
        self._seconds = cache(seconds("request", "Seconds from the headers to the answer's end.", "route").labels)
        stages = seconds("stage", "Seconds of a request by stage: decode, queue, compute, encode.", "route", "stage")
        self._stages = cache(stages.labels)
        self._body_bytes = cache(counter("request_bytes", "Bytes of bodies as they came.", "route").labels)
        self._answer_bytes = cache(counter("answer_bytes", "Bytes of answers as they went.", "route").labels)
        self._resubmissions = counter_of(
            "resubmissions",
            "Jobs sent again after a worker was lost, by what they were doing.",
            "cause",
            ("waiting", "computing"),
            registry,
        )

    def answered(self, passage: "Passage") -> None:
        """Count a request that is over."""
        route = passage.route
        self._requests(route, str(passage.status)).inc()
        self._seconds(route).observe(passage.seconds)
        if passage.body_bytes:
            self._body_bytes(route).inc(passage.body_bytes)
        if passage.answer_bytes:
            self._answer_bytes(route).inc(passage.answer_bytes)
        if passage.reason is not None:
            self._failures(route, passage.reason).inc()

    def stages(self, route: str, seconds: Mapping[str, float]) -> None:
        """Observe where a request spent its time."""
        for stage, spent_s in seconds.items():
            self._stages(route, stage).observe(spent_s)

    def resubmitted(self, cause: str, jobs: int) -> None:
        """Count jobs that were sent to another worker: they were `waiting`, or it was `computing` them."""
        if jobs:
            self._resubmissions.labels(cause).inc(jobs)

    def refused(self, status: int, reason: str) -> None:
        """Count what was refused before it was a request."""
        self._requests("none", str(status)).inc()
        self._failures("none", reason).inc()
