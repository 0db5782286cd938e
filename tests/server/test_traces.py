"""Traces of a real server, as a collector receives them: OTLP over HTTP, from API processes and the worker."""

import gzip
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.serving import GOOD, Server

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Collector:
    """Keeps the spans that are sent to it."""

    def __init__(self) -> None:
        self.spans: list[dict[str, Any]] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                collector.take(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def take(self, request: ExportTraceServiceRequest) -> None:
        for of_process in request.resource_spans:
            resource = {each.key: value_of(each.value) for each in of_process.resource.attributes}
            for scope in of_process.scope_spans:
                for span in scope.spans:
                    attributes = {each.key: value_of(each.value) for each in span.attributes}
                    self.spans.append({"span": span, "attributes": attributes, "resource": resource, "name": span.name})

    def of_trace(self, trace_id: str, count: int) -> dict[str, dict[str, Any]]:
        """The spans of a trace by name, once there are so many."""
        give_up_s = time.monotonic() + 20
        while True:
            found = {each["name"]: each for each in self.spans if each["span"].trace_id.hex() == trace_id}
            if len(found) >= count:
                return found
            assert time.monotonic() < give_up_s, sorted(found)
            time.sleep(0.1)

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def value_of(value: Any) -> Any:
    return getattr(value, value.WhichOneof("value"))


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


@pytest.fixture(scope="module")
def traced(start_server: Callable[..., Server], collector: Collector) -> Iterator[Server]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
        server = start_server(traces="true", models="default", api_keys="key")
    server.client.headers["Authorization"] = "Bearer key"
    yield server
    assert server.terminate() == 0


def under_caller(trace: str = TRACE, flags: str = "01") -> dict[str, str]:
    return {"traceparent": f"00-{trace}-{CALLER}-{flags}", "X-Request-ID": "mine"}


@pytest.mark.parametrize(("path", "body"), [("/attention", GOOD), ("/loss", {"text": "I love programming"})])
def test_a_request_is_one_trace_from_the_caller_through_the_api_process_to_the_worker(
    traced: Server, collector: Collector, path: str, body: dict[str, Any]
) -> None:
    trace = f"{hash(path) & (2**128 - 1) or 1:032x}"
    traced.post(path, body, headers=under_caller(trace))
    spans = collector.of_trace(trace, 5)
    assert set(spans) == {f"POST {path}", "decode", "queue", "compute", "encode"}
    request = spans[f"POST {path}"]
    assert request["span"].parent_span_id.hex() == CALLER
    stages = [spans[name] for name in ("decode", "queue", "compute", "encode")]
    assert {each["span"].parent_span_id for each in stages} == {request["span"].span_id}
    times = [time for each in stages for time in (each["span"].start_time_unix_nano, each["span"].end_time_unix_nano)]
    slack_ns = 2_000_000
    assert all(later >= earlier - slack_ns for earlier, later in itertools.pairwise(times))
    assert request["span"].start_time_unix_nano - slack_ns <= times[0]
    assert times[-1] <= request["span"].end_time_unix_nano + slack_ns
    pids = {each["resource"]["process.pid"] for each in (spans["queue"], spans["compute"])}
    assert pids == {traced.worker_pid()}
    assert request["resource"]["process.pid"] not in pids
    assert {each["resource"]["service.name"] for each in spans.values()} == {"attnloss"}


def test_spans_tell_sizes_and_names_and_nothing_that_was_sent(traced: Server, collector: Collector) -> None:
    trace = "1" * 32
    traced.post("/loss?note=zanzibar", {"text": "zanzibar is an island"}, headers=under_caller(trace))
    spans = collector.of_trace(trace, 5)
    request = spans["POST /loss"]["attributes"]
    assert request["http.route"] == request["url.path"] == "/loss"
    assert request["http.response.status_code"] == 200
    assert request["http.request.method"] == "POST"
    assert request["attnloss.request_id"] == "mine"
    assert request["http.request.body.size"] > 20
    compute = spans["compute"]["attributes"]
    assert compute["attnloss.batch.jobs"] == 1
    assert compute["attnloss.batch.cost"] >= compute["attnloss.job.cost"] > 0
    assert (compute["attnloss.device"], compute["attnloss.job.kind"]) == ("cpu", "text")
    assert "zanzibar" not in str(collector.spans)


@pytest.mark.parametrize(
    ("trace", "path", "body", "headers", "status", "reason"),
    [
        ("2" * 32, "/attention", {}, {}, 422, "invalid"),
        ("3" * 32, "/attention", GOOD, {"Authorization": "Bearer no"}, 401, "unauthorized"),
        ("4" * 32, "/nowhere", {}, {}, 404, "not-found"),
    ],
)
def test_a_refused_request_has_a_span_that_says_why(
    traced: Server,
    collector: Collector,
    trace: str,
    path: str,
    body: dict[str, Any],
    headers: dict[str, str],
    status: int,
    reason: str,
) -> None:
    answer = traced.client.post(path, json=body, headers=headers | under_caller(trace))
    assert answer.status_code == status
    (span,) = collector.of_trace(trace, 1).values()
    assert span["attributes"]["http.response.status_code"] == status
    assert span["attributes"]["error.type"] == reason


def test_a_caller_that_does_not_sample_is_followed(traced: Server, collector: Collector) -> None:
    traced.post("/attention", GOOD, headers=under_caller("5" * 32, flags="00"))
    traced.post("/attention", GOOD, headers=under_caller("6" * 32))
    collector.of_trace("6" * 32, 5)
    assert not [each for each in collector.spans if each["span"].trace_id.hex() == "5" * 32]


@pytest.mark.parametrize("given", ["", "nonsense", "00-" + "0" * 32 + "-" + CALLER + "-01", "ff-" + TRACE + "-x-01"])
def test_a_broken_traceparent_begins_a_trace_of_its_own(traced: Server, collector: Collector, given: str) -> None:
    seen = len(collector.spans)
    traced.post("/attention", GOOD, headers={"traceparent": given})
    give_up_s = time.monotonic() + 10
    while not (roots := [each for each in collector.spans[seen:] if each["name"] == "POST /attention"]):
        assert time.monotonic() < give_up_s
        time.sleep(0.1)
    assert roots[0]["span"].parent_span_id == b""


def test_without_a_collector_requests_are_answered_all_the_same(start_server: Callable[..., Server]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        server = start_server(traces="true", models="")
    for _ in range(20):
        server.is_right()
    began_s = time.monotonic()
    assert server.terminate() == 0
    assert time.monotonic() - began_s < 15
