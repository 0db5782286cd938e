"""What the process measures that keeps the others alive."""

from prometheus_client import CollectorRegistry

from service.metrics.counters import counter_of


class ParentMetrics:
    """Counts of the process that starts workers and API processes."""

    def __init__(self) -> None:
        text = "Child processes that ended unasked and were started again."
        self._restarts = counter_of("restarts", text, "child", ("worker", "api"), CollectorRegistry())

    def restarted(self, child: str) -> None:
        """Count the end of a `worker` or an `api` process that nobody asked for."""
        self._restarts.labels(child).inc()
