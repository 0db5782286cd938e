"""What the process measures that keeps the others alive."""

from prometheus_client import CollectorRegistry, Counter


class ParentMetrics:
    """Counts of the process that starts workers and API processes."""

    def __init__(self) -> None:
        self._restarts = Counter(
            "attnloss_restarts",
            "Child processes that ended unasked and were started again.",
            ["child"],
            registry=CollectorRegistry(),
        )

        for child in ("worker", "api"):
            self._restarts.labels(child)  # there from the start: a rise from nothing is no rise to Prometheus

    def restarted(self, child: str) -> None:
        """Count the end of a `worker` or an `api` process that nobody asked for."""
        self._restarts.labels(child).inc()
