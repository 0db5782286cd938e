import socket
import time

import numpy as np
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from service.batcher import Batch
from service.errors import TooLarge
from service.job import Job, Outcome
from service.settings import Settings
from service.traces import check_traces, traces_of
from service.traces.spans import Traces

SCOPE = {"type": "http", "method": "POST", "path": "/attention", "scheme": "http", "headers": []}


def job(number: int, traceparent: str | None) -> Job:
    arrays = {"query": np.zeros((1, 1, 2, 2), np.float32)}
    made = Job(bytes([number]), "attention", arrays, {}, "", 1, 1, 2, 2, 4, float("inf"), 100.0)
    return made.of_request(f"r{number}", traceparent, 200.0)


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def traces(exporter: InMemorySpanExporter) -> Traces:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return Traces(provider)


def test_each_job_of_a_batch_has_its_spans_under_its_own_request(
    traces: Traces, exporter: InMemorySpanExporter
) -> None:
    first, second = traces.request(SCOPE), traces.request(SCOPE)
    jobs = [job(1, first.traceparent), job(2, None), job(3, second.traceparent)]
    error = TooLarge("too much").to_wire()
    outcomes = [
        Outcome(jobs[0].id, {}, None, 0.5, 2.0, 1.0),
        Outcome(jobs[1].id, {}, None, 0.5, 2.0, 1.0),
        Outcome(jobs[2].id, None, error, 0.25),
    ]
    traces.computed(Batch.of(jobs), outcomes, "cpu")
    spans = exporter.get_finished_spans()
    assert [span.name for span in spans] == ["queue", "compute", "queue", "compute"]
    parents = [f"{span.parent.trace_id:032x}-{span.parent.span_id:016x}" for span in spans if span.parent]
    expected = [str(request.traceparent)[3:-3] for request in (first, first, second, second)]
    assert parents == expected
    lasted_s = [((span.end_time or 0) - (span.start_time or 0)) / 1e9 for span in spans]
    assert lasted_s == pytest.approx([0.5, 2.0, 0.25, 0.0], abs=1e-3)
    assert spans[1].attributes is not None
    assert spans[1].attributes["attnloss.batch.jobs"] == 3
    assert spans[3].attributes is not None
    assert spans[3].attributes["error.type"] == "too-large"


def test_without_the_setting_nothing_is_loaded_and_nothing_made() -> None:
    assert traces_of(Settings()) is None


def test_traces_without_their_packages_are_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.traces._has", lambda *modules: False)
    check_traces(Settings())
    with pytest.raises(ValueError, match=r"pip install 'attnloss\[otel\]'"):
        check_traces(Settings(traces=True))


def test_a_collector_that_never_answers_delays_an_end_by_two_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        traces = Traces.from_environment()
        traces.request(SCOPE)._span.end()
        began_s = time.monotonic()
        traces.close()
        assert time.monotonic() - began_s < 4


def test_what_a_caller_says_beside_its_traceparent_is_not_looked_at(
    traces: Traces, caplog: pytest.LogCaptureFixture
) -> None:
    headers = [(b"traceparent", b"00-" + b"1" * 32 + b"-" + b"2" * 16 + b"-01"), (b"tracestate", b"secret text!!")]
    assert traces.request(SCOPE | {"headers": headers}).traceparent is not None
    assert "secret" not in caplog.text
