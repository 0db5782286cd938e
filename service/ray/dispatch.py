"""The ingress replica's way to the worker replicas: Ray Serve chooses one, and this outlives its death.

All jobs are pure: one whose replica died is sent again, alone, until its deadline. A replica that is given such a job
says when it begins it; one that dies after that has been ended by the job, which ends in ComputeFailed.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc  # type: ignore[import-untyped]  # untyped there
import structlog
from ray.exceptions import NodeDiedError, ObjectLostError, RayActorError, WorkerCrashedError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, ReplicaUnavailableError
from ray.serve.handle import DeploymentHandle, DeploymentResponse, DeploymentResponseGenerator

from service.admission import Reservation
from service.errors import ComputeFailed, DeadlinePassed, Overloaded, ServiceError, TooLarge, Unavailable
from service.job import Job, Outcome
from service.known_worker import best_of_models
from service.ray.wire import BEGUN, UNREADY, answered, leaving


class _GivenUp(Exception):
    """The call was cancelled, and not from here: its replica ends."""


LOST = (RayActorError, NodeDiedError, ObjectLostError, WorkerCrashedError, ReplicaUnavailableError, _GivenUp)
"""A replica, or the answer that it held, is gone."""

_LOOK_EVERY_S = 1.0
_LOOK_WITHIN_S = 5.0
_PAUSE_S = 0.1

log = structlog.get_logger()


class RayDispatch:
    """Jobs to the worker replicas; has what `service.state.Computes` asks for.

    Args:
        workers: the handle of the worker deployment.
        on_resubmit: told `computing` and how many jobs are sent again.

    """

    def __init__(
        self, workers: DeploymentHandle[Any], on_resubmit: Callable[[str, int], None] = lambda cause, jobs: None
    ) -> None:
        self._handle = workers
        self._on_resubmit = on_resubmit
        self._alone: DeploymentHandle[Any] = workers.options(method_name="compute_alone", stream=True)
        self._replicas: list[dict[str, Any]] = []
        self._was_ready = self._starting = False
        self._identity, self._next_id = os.urandom(8), 0
        self._looking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Look at the worker replicas, now and from time to time."""
        await self._look()
        self._looking = asyncio.create_task(self._keep_looking())

    async def close(self) -> None:
        """Look no more."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])

    def new_job_id(self) -> bytes:
        """An id that no other job of this replica has; the worker replica gives it another."""
        self._next_id += 1
        return self._identity + self._next_id.to_bytes(8, "big")

    @property
    def workers(self) -> list[dict[str, Any]]:
        """The worker processes of all replicas, as they were when last looked at."""
        return [worker for replica in self._replicas for worker in replica["workers"]]

    @property
    def ready(self) -> bool:
        """Whether any of them can compute."""
        return any(worker["state"] == "ready" for worker in self.workers)

    @property
    def models(self) -> dict[str, dict[str, Any]]:
        """What they tell of their text models, by name: the best that any of them says."""
        return best_of_models(entry for replica in self._replicas for entry in replica["models"])

    def check(self) -> None:
        """Raise Unavailable if no worker replica has been up yet; one that is replaced is waited for."""
        if self._starting:
            raise Unavailable("The worker replicas are starting.", retry_after_s=1)

    async def compute(self, job: Job, reservation: Reservation) -> dict[str, Any]:
        """The job's result, with `queue_s` and `compute_s` beside it; `queue_s` holds the way there and back.

        Raises:
            ServiceError: what the job ended in; Overloaded if it would be late or there is no room for it.

        """
        began_s = time.monotonic()
        try:
            async with asyncio.timeout(max(job.deadline_s - began_s, 0)):
                outcome = await self._outcome(job)
        except TimeoutError:
            raise DeadlinePassed("Not answered before its deadline.") from None
        except BackPressureError:
            raise Overloaded("Every worker replica has all the jobs that it may hold.", retry_after_s=1) from None
        except DeploymentUnavailableError:
            raise Unavailable("The worker replicas could not be deployed.", retry_after_s=5) from None
        if job.kind == "text" and any(entry["state"] == "loading" for entry in self.models.values()):
            await self._look()  # what has answered is ready
        if outcome.error is not None:
            raise ServiceError.from_wire(outcome.error)
        assert outcome.result is not None
        queue_s = max(time.monotonic() - began_s - outcome.compute_s, 0.0)
        return {"result": outcome.result, "queue_s": queue_s, "compute_s": outcome.compute_s}

    async def _outcome(self, job: Job) -> Outcome:
        """What the job ended in, at the first replica that lives long enough to say it."""
        while True:
            began = False
            try:
                sent = leaving(job, time.monotonic())
                if not job.alone:
                    answering = self._handle.compute.remote(*sent)
                    parts = await _or_cancel(answering, answering)
                else:
                    telling: Any = self._alone.remote(*sent)
                    parts = await _or_cancel(telling, anext(telling))
                    if began := parts[0] == BEGUN:
                        parts = await _or_cancel(telling, anext(telling))
                if parts[0] != UNREADY:
                    return answered(parts)
            except LOST as error:
                why = type(error).__name__
                log.warning("worker replica lost", why=why, request_id=job.request_id, alone=job.alone)
                if began:
                    log.error("job ended two worker replicas", request_id=job.request_id, group=job.group)
                    failed = ComputeFailed("The worker replica died twice while it computed this request alone.")
                    return Outcome(job.id, error=failed.to_wire())
                job = job.on_its_own()
                self._on_resubmit("computing", 1)
            await asyncio.sleep(_PAUSE_S)

    async def _look(self) -> None:
        """Ask every worker replica what it is about; if Ray itself does not answer, what was known stays known."""
        try:
            asked = self._handle.broadcast("status")
            told = await asked.results_async(timeout_s=_LOOK_WITHIN_S, return_exceptions=True)
        except DeploymentUnavailableError:  # there is none
            told = []
        except Exception as error:
            log.warning("worker replicas are not known", why=repr(error))
            return
        self._replicas = [replica for replica in told if isinstance(replica, dict)]
        self._was_ready = self._was_ready or self.ready
        self._starting = not self._was_ready

    async def _keep_looking(self) -> None:
        while True:
            often = _LOOK_EVERY_S * max(1, len(self._replicas) // 8)
            await asyncio.sleep(_PAUSE_S if self._starting else often)
            await self._look()


async def _or_cancel(response: DeploymentResponse[Any] | DeploymentResponseGenerator[Any], told: Awaitable[Any]) -> Any:
    """What a response tells; if nobody waits for it any more, its replica is told."""
    task = asyncio.current_task()
    assert task is not None
    try:
        return await told
    except asyncio.CancelledError:
        if not task.cancelling():
            raise _GivenUp from None
        response.cancel()  # type: ignore[no-untyped-call]  # untyped there
        raise
    except grpc.aio.AioRpcError as error:  # if Ray is told to send jobs by gRPC
        if error.code() in (grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE):
            raise _GivenUp from None
        if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
            limit = "RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH"
            raise TooLarge(f"The job or its result is over {limit} of the cluster; send fewer tensors.") from None
        raise
