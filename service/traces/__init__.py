"""OpenTelemetry traces, if the settings want them; see `service.traces.spans`."""

import importlib.util
from typing import TYPE_CHECKING

from service.settings import Settings

if TYPE_CHECKING:
    from service.traces.spans import Traces


def check_traces(settings: Settings) -> None:
    """Raise ValueError if traces are wanted and the packages for them are missing."""
    if settings.traces and not _has("opentelemetry", "opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http"):
        raise ValueError("ATTNLOSS_TRACES needs OpenTelemetry: pip install 'attnloss[otel]'")


def traces_of(settings: Settings) -> "Traces | None":
    """The spans of this process, or None if they are not wanted; they belong to the process that asks."""
    if not settings.traces:
        return None
    check_traces(settings)
    from service.traces.spans import Traces

    return Traces.from_environment()


def _has(*modules: str) -> bool:
    try:
        return all(importlib.util.find_spec(module) for module in modules)
    except ModuleNotFoundError:
        return False
