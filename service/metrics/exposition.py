"""The text that Prometheus reads."""

from collections import Counter as Tally

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

import attnloss
from service.state import ServiceState

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_STATES = ("starting", "ready", "restarting", "failed")


def exposition(state: ServiceState) -> bytes:
    """What all processes have counted, and what this one knows of workers and models now."""
    counted = CollectorRegistry()
    MultiProcessCollector(counted, path=state.metrics_directory)  # type: ignore[no-untyped-call]  # untyped there
    return generate_latest(counted) + generate_latest(_known(state))


def _known(state: ServiceState) -> CollectorRegistry:
    registry = CollectorRegistry()

    def gauge(name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"attnloss_{name}", text, labels, registry=registry)

    gauge("admitted_requests", "Requests that hold a place now.").set(state.admission.all_jobs)
    gauge("admitted_bytes", "Memory that the admitted requests may need.").set(state.admission.bytes)
    workers = gauge("workers", "Workers by state.", "state")
    tally = Tally(link.worker.state for link in state.dispatch.links)
    for each in _STATES:
        workers.labels(each).set(tally[each])
    models = gauge("model_ready", "1 if a text model can be asked, else 0.", "model")
    for name in state.settings.model_sources:
        models.labels(name).set(state.dispatch.models.get(name, {}).get("state") == "ready")
    gauge("build_info", "1, with the version that runs.", "version").labels(attnloss.__version__).set(1)
    return registry
