"""What the routes of one API process share."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi import Request

from service.admission import Admission
from service.dispatch import Dispatch
from service.settings import Settings

if TYPE_CHECKING:
    from service.metrics.api import ApiMetrics
    from service.traces.spans import Traces


@dataclass
class ServiceState:
    """Made when the process starts to serve, gone when it ends."""

    settings: Settings
    dispatch: Dispatch
    admission: Admission
    metrics: "ApiMetrics"
    metrics_directory: str
    traces: "Traces | None" = None
    draining: bool = False

    @property
    def is_ready(self) -> bool:
        """Whether a worker can compute and the server is not draining."""
        return self.dispatch.ready and not self.draining


def state_of(request: Request) -> ServiceState:
    """The state behind a request."""
    state: ServiceState = request.app.state.service
    return state
