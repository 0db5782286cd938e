"""What an ingress replica makes of what Ray says about worker replicas, with handles that only say it."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
import pytest
from ray.exceptions import ActorDiedError, ActorUnavailableError, ObjectLostError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, ReplicaUnavailableError

from service.admission import Admission
from service.errors import ComputeFailed, DeadlinePassed, Invalid, Overloaded, ServiceError, TooLarge, Unavailable
from service.job import Job, Outcome
from service.ledger import Ledger
from service.ray.dispatch import RayDispatch
from service.ray.wire import BEGUN, UNREADY, answering, arriving
from service.settings import Settings
from service.text.validate import text_loss_job
from service.validate import attention_job

pytestmark = pytest.mark.filterwarnings("ignore:The given NumPy array is not writable")

READY = {"workers": [{"pid": 7, "device": "cpu", "state": "ready"}], "models": [{"name": "default", "state": "ready"}]}
NONE = DeploymentUnavailableError("worker")  # type: ignore[arg-type]  # a name will do
Say = Callable[[Job], Any]


def of_grpc(code: grpc.StatusCode) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata())


def result(job: Job) -> list[Any]:
    return answering(Outcome(job.id, {"output": job.arrays["query"]}, compute_s=0.001))


class Response:
    """Says one thing after another; a wait that is cancelled notes it."""

    def __init__(self, *said: Any) -> None:
        self._said = list(said)
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True

    async def __anext__(self) -> Any:
        said = self._said.pop(0)
        if said is None:
            await asyncio.sleep(60)
        if isinstance(said, BaseException):
            raise said
        return said

    def __await__(self) -> Any:
        return self.__anext__().__await__()


class Handle:
    """A deployment handle: `together` and `alone` say what becomes of each call, in turn."""

    def __init__(self, together: list[Say], alone: list[list[Say]] | None = None, told: Any = (READY,)) -> None:
        self._together, self._alone, self.told = together, alone or [], told
        self.jobs: list[Job] = []
        self.responses: list[Response] = []
        self.compute = self

    def options(self, **given: Any) -> Any:
        assert given == {"method_name": "compute_alone", "stream": True}
        return AloneHandle(self)

    def remote(self, *parts: Any) -> Response:
        return self.answer(parts, [self._together.pop(0)])

    def alone(self, *parts: Any) -> Response:
        return self.answer(parts, self._alone.pop(0))

    def answer(self, parts: Any, says: list[Say]) -> Response:
        job = arriving(parts, b"0" * 16, time.monotonic())
        self.jobs.append(job)
        self.responses.append(Response(*(say(job) for say in says)))
        return self.responses[-1]

    def broadcast(self, method: str) -> Any:
        assert method == "status"
        return self

    async def results_async(self, **_: Any) -> list[Any]:
        if isinstance(self.told, Exception):
            raise self.told
        return list(self.told)


class AloneHandle:
    def __init__(self, handle: Handle) -> None:
        self.remote = handle.alone


def computed(handle: Handle, deadline_s: float = 20.0) -> dict[str, Any]:
    """What the dispatch gives for a job."""

    async def main() -> dict[str, Any]:
        dispatch: Any = RayDispatch(handle)  # type: ignore[arg-type]  # it only says what a handle says
        fields = dict.fromkeys(("query", "key", "value"), np.ones((4, 4)))
        job = attention_job(fields, Settings(deadline_s=20), dispatch.new_job_id())
        with Admission(Ledger(), 100, 1 << 30).reserve(0) as reservation:
            return await dispatch.compute(job.due(time.monotonic() + deadline_s), reservation)  # type: ignore[no-any-return]

    return asyncio.run(main())


def test_a_result_comes_with_the_time_on_the_way() -> None:
    answer = computed(Handle([result]))
    np.testing.assert_array_equal(answer["result"]["output"], np.ones((1, 1, 4, 4)))
    assert answer["compute_s"] == 0.001
    assert answer["queue_s"] >= 0


def test_a_job_travels_with_the_seconds_it_has_left() -> None:
    handle = Handle([result])
    computed(handle, deadline_s=5.0)
    assert handle.jobs[0].deadline_s == pytest.approx(time.monotonic() + 5, abs=1)


@pytest.mark.parametrize(
    "error",
    [
        ActorDiedError(),
        ActorUnavailableError("gone", b"0" * 16),
        ObjectLostError("00", "", ""),
        ReplicaUnavailableError("a"),
        asyncio.CancelledError(),
        of_grpc(grpc.StatusCode.CANCELLED),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_job_whose_replica_is_gone_is_sent_again_alone(error: BaseException) -> None:
    handle = Handle([lambda job: error], [[lambda job: [BEGUN], result]])
    assert computed(handle)["result"]
    assert [job.alone for job in handle.jobs] == [False, True]


def test_a_job_that_was_alone_at_its_second_death_fails() -> None:
    handle = Handle([lambda job: ActorDiedError()], [[lambda job: [BEGUN], lambda job: ActorDiedError()]])
    with pytest.raises(ComputeFailed, match="twice"):
        computed(handle)


def test_a_job_that_only_waited_at_a_death_is_not_blamed() -> None:
    waited = [lambda job: ActorDiedError()]
    handle = Handle([lambda job: ActorDiedError()], [waited, waited, waited, [lambda job: [BEGUN], result]])
    assert computed(handle)["result"]


def test_a_replica_without_a_worker_process_is_no_answer() -> None:
    handle = Handle([lambda job: [UNREADY], result])
    assert computed(handle)["result"]
    assert [job.alone for job in handle.jobs] == [False, False], "nothing died"


def test_a_job_that_finds_no_replica_until_its_deadline_is_504() -> None:
    with pytest.raises(DeadlinePassed):
        computed(Handle([lambda job: [UNREADY]] * 99), deadline_s=0.3)


def test_a_replica_is_told_when_nobody_waits_any_more() -> None:
    handle = Handle([lambda job: None])
    with pytest.raises(DeadlinePassed):
        computed(handle, deadline_s=0.1)
    assert handle.responses[0].cancelled


@pytest.mark.parametrize(
    ("said", "kind", "retry_after_s"),
    [
        (BackPressureError(10, 10), Overloaded, 1),
        (NONE, Unavailable, 5),
        (of_grpc(grpc.StatusCode.RESOURCE_EXHAUSTED), TooLarge, None),
    ],
    ids=["429", "503", "413"],
)
def test_what_ray_refuses_is_said_in_the_services_words(
    said: Exception, kind: type[ServiceError], retry_after_s: float | None
) -> None:
    with pytest.raises(kind) as raised:
        computed(Handle([lambda job: said]))
    assert raised.value.retry_after_s == retry_after_s


def test_an_error_of_the_worker_is_raised_as_it_is() -> None:
    error = Invalid.field("query[0]", "is wrong")
    with pytest.raises(Invalid) as raised:
        computed(Handle([lambda job: answering(Outcome(job.id, error=error.to_wire()))]))
    assert raised.value.errors == error.errors


@pytest.fixture
def looked() -> Callable[[Handle], RayDispatch]:
    """A dispatch that has looked at its replicas once."""

    def look(handle: Handle) -> RayDispatch:
        async def main() -> RayDispatch:
            dispatch = RayDispatch(handle)  # type: ignore[arg-type]  # it only says what a handle says
            await dispatch.start()
            await dispatch.close()
            return dispatch

        return asyncio.run(main())

    return look


def test_replicas_tell_their_workers_and_models(looked: Any) -> None:
    restarting = READY | {"workers": [{"pid": 8, "device": "cpu", "state": "restarting"}]}
    dispatch = looked(Handle([], told=[READY, restarting, ActorDiedError()]))
    assert dispatch.ready
    assert [worker["pid"] for worker in dispatch.workers] == [7, 8]
    assert dispatch.models == {"default": READY["models"][0]}
    dispatch.check()


def test_a_text_that_was_answered_was_answered_by_a_model_that_is_told_to_be_ready() -> None:
    handle = Handle([lambda job: answering(Outcome(job.id, {"results": []}))])
    handle.told = [READY | {"models": [{"name": "default", "state": "loading"}]}]

    async def main() -> None:
        dispatch: Any = RayDispatch(handle)  # type: ignore[arg-type]  # it only says what a handle says
        await dispatch.start()
        assert dispatch.models["default"]["state"] == "loading"
        handle.told = [READY]
        job = text_loss_job({"text": "a"}, Settings(deadline_s=20), dispatch.new_job_id())
        await dispatch.compute(job, Admission(Ledger(), 100, 1 << 30).reserve(0))
        assert dispatch.models["default"]["state"] == "ready"
        await dispatch.close()

    asyncio.run(main())


def test_before_the_first_replica_is_ready_requests_are_503(looked: Any) -> None:
    with pytest.raises(Unavailable, match="starting"):
        looked(Handle([], told=NONE)).check()


def test_an_ingress_replica_that_does_not_know_its_workers_yet_refuses_nobody(looked: Any) -> None:
    looked(Handle([], told=TimeoutError())).check()
