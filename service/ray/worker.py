"""A worker replica: computes the jobs that ingress replicas send it.

It holds what an API process of one machine holds: links to worker processes of its own, one for each GPU that Ray gave
it, supervised and replaced within the replica. A job that ends its process is found and blamed as there; the replica
outlives it. Jobs of all ingress replicas meet in the same batches, and are admitted by what the worker foretells.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

from service.errors import ServiceError, Unavailable
from service.job import Outcome
from service.logs import configure_logs
from service.ray.wire import BEGUN, UNREADY, Parts, answering, arriving
from service.serving import serving_with_own_workers
from service.settings import Settings

_LOOK_EVERY_S = 0.05


class WorkerReplica:
    """Ready once a forward has run on its device.

    Args:
        settings: of the service, as JSON has them.

    """

    async def __init__(self, settings: dict[str, Any]) -> None:  # type: ignore[misc]  # Ray Serve awaits it
        self._settings = Settings.model_validate(settings)
        configure_logs(self._settings.log_level, self._settings.log_format)
        self._one_by_one = asyncio.Lock()
        self._held = AsyncExitStack()
        self._state = await self._held.enter_async_context(serving_with_own_workers(self._settings))
        while not self._state.is_ready:
            self.check_health()
            await asyncio.sleep(_LOOK_EVERY_S)

    async def compute(self, *parts: Any) -> Parts:
        """The outcome of a job, both as frames."""
        job = arriving(parts, self._state.dispatch.new_job_id(), time.monotonic())
        try:
            size_bytes = 2 * sum(array.nbytes for array in job.arrays.values())
            with self._state.admission.reserve(size_bytes) as reservation:
                outcome = Outcome(job.id, **await self._state.dispatch.compute(job, reservation))
        except Unavailable as error:
            if not self._state.is_ready:
                return [UNREADY]
            outcome = Outcome(job.id, error=error.to_wire())
        except ServiceError as error:
            outcome = Outcome(job.id, error=error.to_wire())
        return answering(outcome)

    async def compute_alone(self, *parts: Any) -> AsyncIterator[Parts]:
        """BEGUN once no other job of the kind is computed here, then the outcome."""
        async with self._one_by_one:
            yield [BEGUN]
            yield await self.compute(*parts)

    async def status(self) -> dict[str, Any]:
        """Its worker processes, and their text models."""
        return {"workers": self._state.dispatch.workers, "models": list(self._state.dispatch.models.values())}

    def check_health(self) -> None:
        """Raise RuntimeError if no worker process comes up: Ray Serve then replaces the replica."""
        failed = [worker for worker in self._state.dispatch.workers if worker["state"] == "failed"]
        if failed and len(failed) == len(self._state.dispatch.workers):
            raise RuntimeError(failed[0]["why"])

    async def __del__(self) -> None:
        """End the worker processes; Ray Serve calls this once, after the last job."""
        await self._held.aclose()
