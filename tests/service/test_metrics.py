import numpy as np
import prometheus_client
import pytest

from service.batcher import Batch, Batcher, BatchLimits
from service.cost import CostModel
from service.job import Job
from service.metrics.worker import WorkerMetrics
from service.stopwatch import Stopwatch


def job(n: int) -> Job:
    arrays = {"query": np.zeros((1, 1, n, 2), np.float32)}
    return Job(bytes([n]), "attention", arrays, {}, "", 1, 1, n, n, n * n, float("inf"), 0.0)


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> prometheus_client.CollectorRegistry:
    registry = prometheus_client.CollectorRegistry()
    monkeypatch.setattr("service.metrics.worker.CollectorRegistry", lambda: registry)
    return registry


def test_padding_is_the_part_of_a_batch_that_no_job_asked_for(registry: prometheus_client.CollectorRegistry) -> None:
    metrics = WorkerMetrics()
    metrics.computed(Batch.of([job(2), job(3)]), [], 0.5)
    assert registry.get_sample_value("attnloss_padding_ratio_sum") == pytest.approx(1 - 13 / 18)
    assert registry.get_sample_value("attnloss_batch_cost_sum") == 18
    assert registry.get_sample_value("attnloss_batch_seconds_sum") == 0.5


def test_what_waits_are_jobs_texts_and_the_batch_that_is_formed(registry: prometheus_client.CollectorRegistry) -> None:
    metrics = WorkerMetrics()
    batcher = Batcher(BatchLimits(100, 10), CostModel(call_s=1e-4, element_s=1e-9, padded_element_s=1e-9))
    for n in (2, 3):
        batcher.put(job(n))
        batcher.put(job(n))
    metrics.waiting(batcher, 4, Batch.of([job(5)]))
    assert registry.get_sample_value("attnloss_queue_jobs") == 2 + 4 + 1
    assert registry.get_sample_value("attnloss_queue_cost") == 4 + 9 + 25
    while batcher.take():
        pass
    metrics.waiting(batcher, 0, None)
    assert registry.get_sample_value("attnloss_queue_cost") == 0


@pytest.mark.parametrize(
    "name", ['attnloss_batch_splits_total{"cause": "memory"}', 'attnloss_batch_splits_total{"cause": "failure"}']
)
def test_a_cause_is_there_before_it_is_counted(registry: prometheus_client.CollectorRegistry, name: str) -> None:
    WorkerMetrics()
    family, _, label = name.partition("{")
    assert registry.get_sample_value(family, {"cause": label.split('"')[3]}) == 0


def test_time_within_a_stretch_that_is_measured_itself_is_not_counted_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 1.0, 4.0, 10.0])
    monkeypatch.setattr("service.stopwatch.time.monotonic", lambda: next(now))
    watch = Stopwatch()
    with watch.stretch() as outer, watch.stretch() as inner:
        pass
    assert (inner.own_s, outer.own_s) == (3.0, 7.0)
