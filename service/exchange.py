"""The way of a request that has a job: body in, job through the link, answer out, whatever protocol it speaks."""

import asyncio
import gzip
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from service.codec import TensorKind, decode_json, encode_arrays, encode_json
from service.errors import DeadlinePassed
from service.frames import Buffer, Frames
from service.intake import check_headers, json_memory_bytes, read_body, timeout_s
from service.job import Job
from service.limits import check_answer
from service.passage import Passage
from service.schemas import TENSOR_FIELDS
from service.settings import Settings
from service.state import ServiceState

_DECODE_IN_THREAD_FROM_BYTES = 1 << 22
_GZIP_FROM_BYTES = 1024


@dataclass(frozen=True)
class Written:
    """An answer's body, in parts that lie one behind another, with the headers that belong to it."""

    parts: list[Buffer]
    media_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes of the body."""
        return sum(memoryview(part).nbytes for part in self.parts)


Write = Callable[[dict[str, Any]], Written]
"""What is made of the job's result."""

BuildJob = Callable[[dict[str, Any], Settings, bytes], Job]
"""Fields of a JSON body, settings, id of the job → the job."""


@dataclass(frozen=True)
class Wire:
    """How a route reads bodies and writes answers.

    `read` gets the body, the request's headers, the settings and the id of the job, and gives the job and how its
    result is to be written; it may run in a thread. `memory_bytes` tells from the headers what a body of so many bytes
    may take in memory while it is decoded; `lead_bytes` how many zeros `read` wants before the body, so
    that what lies in it is aligned in memory. `media_types` are those of bodies; JSON always is one.
    """

    read: Callable[[bytes, Mapping[str, str], Settings, bytes], tuple[Job, Write]]
    memory_bytes: Callable[[Mapping[str, str], int], int] = json_memory_bytes
    lead_bytes: Callable[[Mapping[str, str]], int] = lambda headers: 0
    media_types: frozenset[str] = frozenset()


def write_json(result: dict[str, Any]) -> Written:
    """The result as it is, arrays as nested lists."""
    return Written([encode_json(result)])


def _write_base64(result: dict[str, Any]) -> Written:
    return Written([encode_json(encode_arrays(result))])


def _as_asked(job: Job, fields: Mapping[str, Any]) -> Write:
    return _write_base64 if fields.get("encoding") == "base64" else write_json


def json_wire(
    build: BuildJob,
    tensors: Mapping[str, TensorKind] = TENSOR_FIELDS,
    write: Callable[[Job, Mapping[str, Any]], Write] = _as_asked,
) -> Wire:
    """The wire of JSON in and JSON out.

    `tensors` are the fields that become arrays; `write` chooses from the job and the fields of its body how the result
    is written: by default the field `encoding` says it.
    """

    def read(body: bytes, headers: Mapping[str, str], settings: Settings, job_id: bytes) -> tuple[Job, Write]:
        fields = decode_json(body, tensors, max_depth=settings.max_json_depth)
        job = build(fields, settings, job_id)
        return job, write(job, fields)

    return Wire(read)


async def answer(request: Request, state: ServiceState, route: str, wire: Wire) -> Response:
    """Serve one request."""
    settings = state.settings
    expected_bytes = check_headers(request, settings, wire.media_types)
    patience_s = timeout_s(request, settings)
    deadline_s = time.monotonic() + patience_s
    state.dispatch.check()
    with state.admission.reserve(wire.memory_bytes(request.headers, expected_bytes), deadline_s) as reservation:
        body = await read_body(
            request, settings, reservation, deadline_s, wire.memory_bytes, wire.lead_bytes(request.headers)
        )
        request.scope["body_read"] = True
        arrived_s = time.monotonic()
        job_id = state.dispatch.new_job_id()
        if len(body) < _DECODE_IN_THREAD_FROM_BYTES:
            job, write = wire.read(body, request.headers, settings, job_id)
        else:
            job, write = await asyncio.to_thread(wire.read, body, request.headers, settings, job_id)
        del body
        reservation.resize(2 * sum(array.nbytes for array in job.arrays.values()))
        passage: Passage = request.scope["passage"]
        job = job.of_request(passage.request_id, passage.traceparent, min(deadline_s, job.deadline_s))
        decoded_s = time.monotonic()
        try:
            computed = await _compute(request, state.dispatch.compute(job, reservation))
        except DeadlinePassed:
            patience_s -= deadline_s - job.deadline_s
            raise DeadlinePassed(f"Not answered within {patience_s:.3g} s.") from None
        computed_s = time.monotonic()
        written = write(computed["result"])
        size = written.size
        check_answer(size, settings)
        if _gzip_wanted(request, settings) and size >= _GZIP_FROM_BYTES:
            written = await asyncio.to_thread(_compressed, written)
    written_s = time.monotonic()
    stages = {
        "decode": decoded_s - arrived_s,
        "queue": computed["queue_s"],
        "compute": computed["compute_s"],
        "encode": written_s - computed_s,
    }
    state.metrics.stages(route, stages)
    if passage.trace is not None:
        passage.trace.stage("decode", arrived_s, decoded_s)
        passage.trace.stage("encode", computed_s, written_s)
    timing = ", ".join(f"{stage};dur={spent_s * 1e3:.3f}" for stage, spent_s in stages.items())
    return Frames(written.parts, written.media_type, written.headers | {"server-timing": timing})


def _compressed(written: Written) -> Written:
    content = gzip.compress(b"".join(written.parts), 1)
    return Written(
        [content], written.media_type, written.headers | {"content-encoding": "gzip", "vary": "accept-encoding"}
    )


async def _compute(request: Request, outcome: Coroutine[Any, Any, dict[str, Any]]) -> dict[str, Any]:
    """The computed job, unless the client goes away before."""
    computing = asyncio.current_task()
    assert computing is not None
    watching = asyncio.create_task(_watch(request, computing))
    try:
        return await outcome
    except asyncio.CancelledError:
        if watching.done():
            computing.uncancel()
            raise ClientDisconnect from None
        raise
    finally:
        watching.cancel()


async def _watch(request: Request, computing: asyncio.Task[Any]) -> None:
    """Cancel the computation when the client goes away."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    computing.cancel()


def _gzip_wanted(request: Request, settings: Settings) -> bool:
    accepted_codings = request.headers.get("accept-encoding", "").lower()
    if "gzip" not in accepted_codings or settings.gzip_answers == "never":
        return False
    codings = {
        name.strip(): quality.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
        for name, _, quality in (part.partition(";") for part in accepted_codings.split(","))
        if name.strip()
    }
    accepted = {name for name, wanted in codings.items() if wanted} - {"identity"}
    return accepted == {"gzip"} if settings.gzip_answers == "asked" else "gzip" in accepted
