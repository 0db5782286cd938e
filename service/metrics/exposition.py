"""The text that Prometheus reads."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

import attnloss
from service.state import ServiceState

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_STATES = ("starting", "ready", "restarting", "failed")


def exposition(state: ServiceState) -> bytes:
    """What all processes have counted, and what is known of the service now."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=state.metrics_directory)  # type: ignore[no-untyped-call]  # untyped there
    registry.register(_Now(state))
    return generate_latest(registry)


class _Now(Collector):
    """What is not counted but looked up."""

    def __init__(self, state: ServiceState) -> None:
        self._state = state

    def collect(self) -> Iterable[Metric]:
        """The gauges."""
        state = self._state
        workers = Counter(worker["state"] for worker in state.dispatch.workers)
        models = state.dispatch.models
        ready = {name: models.get(name, {}).get("state") == "ready" for name in state.settings.model_sources}
        yield _gauge("admitted_requests", "Requests that hold a place now.", {None: state.admission.all_jobs})
        yield _gauge("admitted_bytes", "Memory that admitted requests may need.", {None: state.admission.bytes})
        yield _gauge("connections", "Open connections.", {None: state.admission.connections})
        yield _gauge("workers", "Workers by state.", {each: workers[each] for each in _STATES}, "state")
        yield _gauge("model_ready", "1 if a text model can be asked, else 0.", ready, "model")
        yield _gauge("build_info", "1, with the version that runs.", {attnloss.__version__: 1}, "version")


def _gauge(name: str, text: str, values: Mapping[Any, int], label: str | None = None) -> Metric:
    """Values by the label's value, or by None without a label."""
    family = GaugeMetricFamily(f"attnloss_{name}", text, labels=[] if label is None else [label])
    for key, value in values.items():
        family.add_metric([] if key is None else [key], float(value))
    return family
