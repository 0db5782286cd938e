"""What the routes of one API process share."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from fastapi import Request

from service.admission import Admission, Reservation
from service.job import Job
from service.settings import Settings

if TYPE_CHECKING:
    from service.metrics.api import ApiMetrics
    from service.traces.spans import Traces


class Computes(Protocol):
    """Where jobs are computed, as routes see it; `service.dispatch.Dispatch` says it with all its words."""

    @property
    def ready(self) -> bool:
        """Whether any worker can compute now."""

    @property
    def workers(self) -> list[dict[str, Any]]:
        """The entries of /health/ready."""

    @property
    def models(self) -> dict[str, dict[str, Any]]:
        """What the workers tell of their text models, by name."""

    def check(self) -> None:
        """Raise Unavailable if no worker has been up yet, or none comes up any more."""

    def new_job_id(self) -> bytes:
        """An id that no other job has."""

    async def compute(self, job: Job, reservation: Reservation) -> dict[str, Any]:
        """The job's result, with `queue_s` and `compute_s` beside it. Raises ServiceError."""


@dataclass
class ServiceState:
    """Made when the process starts to serve, gone when it ends."""

    settings: Settings
    dispatch: Computes
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
