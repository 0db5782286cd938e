"""Counters whose label has few values, all of them known."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter


def counter_of(name: str, text: str, label: str, values: Iterable[str], registry: CollectorRegistry) -> Counter:
    """A counter that tells every value from the start: a rise from nothing is no rise to Prometheus."""
    counter = Counter(f"attnloss_{name}", text, [label], registry=registry)
    for value in values:
        counter.labels(value)
    return counter
