"""OpenTelemetry spans of one process: a request with its stages in the API process, its job in the worker.

The span of a request continues the caller's trace (W3C Trace Context). Its context goes over the link with the job, so
that `queue` and `compute`, which the worker tells, lie under it beside `decode` and `encode`. Spans carry sizes and
names, never tensors or text. The names of attributes are OpenTelemetry's semantic conventions where these have one.
"""

import os
import threading
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

import attnloss
from service.batcher import Batch
from service.job import Outcome

if TYPE_CHECKING:
    from starlette.types import Scope

    from service.passage import Passage

_SEND_WITHIN_S = 2.0

_PROPAGATOR = TraceContextTextMapPropagator()


class Traces:
    """Makes spans and sends them away in the background; `close` sends what is left.

    Args:
        provider: of the tracer, with its exporter.

    """

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("attnloss", attnloss.__version__)

    @classmethod
    def from_environment(cls) -> Self:
        """Spans go by OTLP over HTTP to where OTEL_EXPORTER_OTLP_* say; OTEL_* choose the sampler and all else."""
        own: dict[str, str | int] = {"service.version": attnloss.__version__, "process.pid": os.getpid()}
        if "OTEL_SERVICE_NAME" not in os.environ:
            own["service.name"] = "attnloss"
        provider = TracerProvider(resource=Resource.create(own), shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        return cls(provider)

    def request(self, scope: "Scope") -> "RequestTrace":
        """Begin the span of a request, under the caller's if it says one."""
        caller = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"traceparent"), None)
        told = {"http.request.method": scope["method"], "url.path": scope["path"], "url.scheme": scope["scheme"]}
        span = self._tracer.start_span(scope["method"], _under(caller), SpanKind.SERVER, attributes=told)
        return RequestTrace(self, span)

    def computed(self, batch: Batch, outcomes: Sequence[Outcome], device: str) -> None:
        """Tell where the jobs of a batch spent their time in the worker; those of untraced requests are left out."""
        shared = {"attnloss.batch.jobs": len(batch), "attnloss.batch.cost": batch.cost, "attnloss.device": device}
        for job, outcome in zip(batch.jobs, outcomes, strict=True):
            if job.traceparent is None:
                continue
            parent = _under(job.traceparent)
            taken_s = job.arrival_s + outcome.queue_s
            told = {**shared, "attnloss.job.cost": job.cost, "attnloss.job.kind": job.kind}
            self.stage("queue", parent, job.arrival_s, taken_s)
            self.stage("compute", parent, taken_s, taken_s + outcome.compute_s, told, outcome.error)

    def stage(
        self,
        name: str,
        parent: Context,
        began_s: float,
        ended_s: float,
        attributes: Mapping[str, Any] | None = None,
        error: Mapping[str, Any] | None = None,
    ) -> None:
        """A span that is over; times are of the monotonic clock."""
        span = self._tracer.start_span(name, parent, attributes=attributes, start_time=_wall_ns(began_s))
        if error is not None:
            span.set_attribute("error.type", error["slug"])
            span.set_status(StatusCode.ERROR)
        span.end(_wall_ns(ended_s))

    def close(self) -> None:
        """Send what is left, as far as it goes in two seconds: a collector may not answer."""
        sending = threading.Thread(target=self._provider.shutdown, daemon=True)
        sending.start()
        sending.join(_SEND_WITHIN_S)


class RequestTrace:
    """The span of a request."""

    def __init__(self, traces: Traces, span: Span) -> None:
        self._traces = traces
        self._span = span
        self._context = set_span_in_context(span, Context())
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier, self._context)
        self.traceparent: str | None = carrier.get("traceparent") if span.is_recording() else None

    def stage(self, name: str, began_s: float, ended_s: float) -> None:
        """A stage of the request that this process has done."""
        self._traces.stage(name, self._context, began_s, ended_s)

    def end(self, passage: "Passage") -> None:
        """The answer has been sent, or the client has gone."""
        self._span.update_name(f"{passage.method} {passage.route}")
        self._span.set_attributes(
            {
                "http.route": passage.route,
                "http.response.status_code": passage.status,
                "http.request.body.size": passage.body_bytes,
                "http.response.body.size": passage.answer_bytes,
                "attnloss.request_id": passage.request_id,
            }
        )
        if passage.reason is not None:
            self._span.set_attribute("error.type", passage.reason)
        if passage.status >= 500:
            self._span.set_status(StatusCode.ERROR)
        self._span.end()


def _under(traceparent: str | None) -> Context:
    """The context in which a span lies under that one; of its own if it is None or broken."""
    return _PROPAGATOR.extract({} if traceparent is None else {"traceparent": traceparent}, Context())


def _wall_ns(monotonic_s: float) -> int:
    return time.time_ns() - round(1e9 * (time.monotonic() - monotonic_s))
