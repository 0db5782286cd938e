"""What a worker does about faults of its device; they are put where production asks the device."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from service import worker as worker_module
from service.batcher import Batch
from service.errors import ServiceError, TooLarge
from service.job import Job, Outcome
from service.settings import Settings
from service.validate import attention_job
from service.worker import ContextLost, Situation, Worker

pytestmark = pytest.mark.filterwarnings("ignore:The given NumPy array is not writable")


class FaultyWorker(Worker):
    """Asks `fault` before each call; remembers the sizes of the calls."""

    def __init__(self, fault: Callable[[Batch], Exception | None], **settings: Any) -> None:
        super().__init__(Settings(device="cpu", **settings))
        self.fault = fault
        self.calls: list[int] = []

    def _tensor_results(self, batch: Batch, meanwhile: Callable[[], None]) -> list[dict[str, Any]]:
        self.calls.append(len(batch))
        if (error := self.fault(batch)) is not None:
            raise error
        return super()._tensor_results(batch, meanwhile)


def a_job(number: int, n: int = 3) -> Job:
    draw = np.random.default_rng(number)
    fields = {name: draw.normal(size=(n, 5)) for name in ("query", "key", "value")}
    return attention_job(fields, Settings(), number.to_bytes(16, "big"))


def jobs(count: int) -> list[Job]:
    return [a_job(number, 3 + number % 2) for number in range(count)]


def assert_right(job: Job, outcome: Outcome) -> None:
    (alone,) = Worker().run(Batch.of([job]))
    assert outcome.error is None
    assert alone.result is not None
    assert outcome.result is not None
    np.testing.assert_allclose(outcome.result["output"], alone.result["output"], atol=1e-6)


def memory_of(most: int) -> Callable[[Batch], Exception | None]:
    return lambda batch: torch.OutOfMemoryError("CUDA out of memory") if batch.cost > most else None


def error_of(outcome: Outcome) -> ServiceError:
    assert outcome.error is not None
    return ServiceError.from_wire(outcome.error)


def test_a_batch_without_room_is_computed_by_halves_and_every_job_is_right() -> None:
    worker, batch = FaultyWorker(memory_of(3 * 16)), Batch.of(jobs(8))
    for job, outcome in zip(batch.jobs, worker.run(batch), strict=True):
        assert_right(job, outcome)
    assert worker.calls == [8, 4, 2, 2, 4, 2, 2]
    assert worker.memory.max_batch_cost == 4 * 16 // 2, "further batches are no larger than what may fit"


def test_a_single_job_without_room_is_too_large_and_its_mates_are_right() -> None:
    together = [*jobs(3), a_job(9, 20), *jobs(2)]
    outcomes = FaultyWorker(memory_of(300)).run(Batch.of(together))
    error = error_of(outcomes.pop(3))
    assert isinstance(error, TooLarge)
    assert "cost 400" in error.detail
    assert "try one of cost 200" in error.detail or "was computed" in error.detail
    for job, outcome in zip([*together[:3], *together[4:]], outcomes, strict=True):
        assert_right(job, outcome)


def test_a_batch_that_fails_otherwise_is_computed_job_by_job() -> None:
    bad = a_job(5)

    def fault(batch: Batch) -> Exception | None:
        return ZeroDivisionError() if bad in batch.jobs else None

    told: list[str] = []
    worker = FaultyWorker(fault)
    worker.on_split = told.append
    outcomes = worker.run(Batch.of([*jobs(3), bad]))
    assert worker.calls == [4, 1, 1, 1, 1]
    assert told == ["failure"]
    assert error_of(outcomes[3]).status == 500
    for job, outcome in zip(jobs(3), outcomes[:3], strict=True):
        assert_right(job, outcome)


@pytest.mark.parametrize(
    "error", [torch.AcceleratorError("CUDA error: an illegal memory access"), RuntimeError("CUDA error: assert")]
)
def test_a_lost_context_ends_the_worker_and_answers_nothing(error: Exception) -> None:
    with pytest.raises(ContextLost, match="CUDA error"):
        FaultyWorker(lambda batch: error).run(Batch.of(jobs(2)))


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory"),
        torch.AcceleratorError("CUDA error: out of memory"),
    ],
)
def test_every_way_to_be_out_of_memory_is_known_and_ends_nothing(error: Exception) -> None:
    (outcome,) = FaultyWorker(lambda batch: error).run(Batch.of(jobs(1)))
    assert error_of(outcome).status == 413


def test_the_shares_of_a_batch_add_up_to_what_it_took() -> None:
    outcomes = Worker().run(Batch.of([a_job(0, 3), a_job(1, 3), a_job(2, 30)]))
    assert sum(outcome.share_s for outcome in outcomes) == pytest.approx(outcomes[0].compute_s)
    assert outcomes[2].share_s == pytest.approx(100 * outcomes[0].share_s)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_autocast_computes_requests_for_float32_in_its_own_dtype_and_says_so(dtype: str) -> None:
    job = a_job(0, 30)
    (exact,), (cast,) = (Worker(Settings(device="cpu", autocast=each)).run(Batch.of([job])) for each in ("none", dtype))
    assert exact.result is not None
    assert cast.result is not None
    assert cast.result["autocast"] == dtype
    assert "autocast" not in exact.result
    assert cast.result["output"].dtype == np.float32
    error = np.abs(cast.result["output"] - exact.result["output"]).max()
    assert 0 < error < 2e-2


def test_autocast_leaves_requests_for_other_dtypes_alone() -> None:
    fields = dict.fromkeys(("query", "key", "value"), np.random.default_rng(0).normal(size=(9, 5)))
    job = attention_job(fields | {"dtype": "float64"}, Settings(), b"1" * 16)
    (outcome,) = Worker(Settings(device="cpu", autocast="bfloat16")).run(Batch.of([job]))
    assert outcome.result is not None
    assert outcome.result["output"].dtype == np.float64
    assert "autocast" not in outcome.result


def test_the_next_batch_is_formed_while_a_device_computes() -> None:
    seen: list[str] = []

    class Overlapping(Worker):
        def _tensor_results(self, batch: Batch, meanwhile: Callable[[], None]) -> list[dict[str, Any]]:
            meanwhile()
            return super()._tensor_results(batch, meanwhile)

    Overlapping().run(Batch.of(jobs(1)), Situation(meanwhile=lambda: seen.append("formed")))
    assert seen == ["formed"]


def test_a_batch_that_was_prepared_is_computed_from_what_was_sent_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Batch] = []
    collate = worker_module.collate
    monkeypatch.setattr(worker_module, "collate", lambda batch, device: sent.append(batch) or collate(batch, device))
    worker, first, second = Worker(), Batch.of(jobs(2)), Batch.of(jobs(3))
    worker.prepare(first)
    for batch, already in ((first, 1), (second, 2)):
        for job, outcome in zip(batch.jobs, worker.run(batch), strict=True):
            assert outcome.error is None, job
        assert len(sent) == already
    worker.prepare(first)
    worker.run(second)
    worker.run(first)
    assert len(sent) == 5, "what was sent ahead for another batch is not mistaken for this one's"


def test_what_cannot_be_prepared_is_told_when_its_turn_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(batch: Batch, device: torch.device) -> Any:
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(worker_module, "collate", fails)
    worker, batch = Worker(), Batch.of(jobs(1))
    worker.prepare(batch)
    assert error_of(worker.run(batch)[0]).status == 413


def test_a_context_lost_by_tensors_between_two_forwards_of_a_text_ends_the_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = replace(a_job(0), kind="text")
    worker = FaultyWorker(lambda batch: RuntimeError("CUDA error: assert"))

    def forwards(jobs: Any, tokens: int, cancelled: Any, pause: Callable[[], None]) -> list[dict[str, Any]]:
        pause()
        return [{}]

    monkeypatch.setattr("service.text.run.text_results", forwards)
    with pytest.raises(ContextLost):
        worker.run(Batch.of([text]), Situation(between=lambda: worker.run(Batch.of(jobs(1))) and None))


def test_tensors_between_two_forwards_of_a_text_are_not_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    fields = {"query": np.ones((9, 5)), "key": np.eye(9, 5), "dtype": "float64", "return": ["weights"]}
    job = attention_job(fields, Settings(), b"1" * 16)
    worker = Worker(Settings(device="cpu", autocast="bfloat16"))
    found: list[Outcome] = []

    def forwards(jobs: Any, tokens: int, cancelled: Any, pause: Callable[[], None]) -> list[dict[str, Any]]:
        pause()
        return [{"autocast": torch.is_autocast_enabled("cpu")}]

    monkeypatch.setattr("service.text.run.text_results", forwards)

    def between() -> None:
        assert not torch.is_autocast_enabled("cpu")
        found.extend(worker.run(Batch.of([job])))

    (outcome,) = worker.run(Batch.of([replace(a_job(0), kind="text")]), Situation(between=between))
    assert outcome.result is not None
    assert found[0].error is None
