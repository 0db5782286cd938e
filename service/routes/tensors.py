"""What POST /attention and POST /loss share: body in, job through the link, answer out."""

import asyncio
import gzip
import time
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request
from fastapi.responses import Response
from starlette.requests import ClientDisconnect

from service.admission import JSON_MEMORY_FACTOR
from service.codec import decode_json, encode_arrays, encode_json
from service.errors import DeadlinePassed
from service.intake import check_headers, read_body, timeout_s
from service.job import Job
from service.limits import check_answer
from service.schemas import TENSOR_FIELDS
from service.settings import Settings
from service.state import ServiceState

BuildJob = Callable[[dict[str, Any], Settings, bytes], Job]

_DECODE_IN_THREAD_FROM_BYTES = 1 << 22
_GZIP_FROM_BYTES = 1024


async def answer(request: Request, state: ServiceState, route: str, build: BuildJob) -> Response:
    """Serve one request for tensors."""
    settings = state.settings
    expected_bytes = check_headers(request, settings)
    patience_s = timeout_s(request, settings)
    deadline_s = time.monotonic() + patience_s
    state.dispatch.check()
    with state.admission.reserve(expected_bytes * JSON_MEMORY_FACTOR, deadline_s) as reservation:
        body = await read_body(request, settings, reservation, deadline_s)
        request.scope["body_read"] = True
        arrived_s = time.monotonic()
        job_id = state.dispatch.new_job_id()
        if len(body) < _DECODE_IN_THREAD_FROM_BYTES:
            job, encoding = _decode(body, build, settings, job_id)
        else:
            job, encoding = await asyncio.to_thread(_decode, body, build, settings, job_id)
        del body
        reservation.resize(2 * sum(array.nbytes for array in job.arrays.values()))
        decoded_s = time.monotonic()
        try:
            computed = await _compute(request, state.dispatch.compute(job.due(deadline_s), reservation))
        except DeadlinePassed:
            raise DeadlinePassed(f"Not answered within {patience_s:g} s.") from None
        computed_s = time.monotonic()
        content = encode_json(encode_arrays(computed["result"]) if encoding == "base64" else computed["result"])
        check_answer(len(content), settings)
        headers = {}
        if _gzip_wanted(request, settings) and len(content) >= _GZIP_FROM_BYTES:
            content = await asyncio.to_thread(gzip.compress, content, 1)
            headers = {"content-encoding": "gzip", "vary": "accept-encoding"}
    stages = {
        "decode": decoded_s - arrived_s,
        "queue": computed["queue_s"],
        "compute": computed["compute_s"],
        "encode": time.monotonic() - computed_s,
    }
    state.metrics.stages(route, stages)
    headers["server-timing"] = ", ".join(f"{stage};dur={spent_s * 1e3:.3f}" for stage, spent_s in stages.items())
    return Response(content, media_type="application/json", headers=headers)


def _decode(body: bytes, build: BuildJob, settings: Settings, job_id: bytes) -> tuple[Job, str]:
    fields = decode_json(body, TENSOR_FIELDS, max_depth=settings.max_json_depth)
    return build(fields, settings, job_id), str(fields.get("encoding", "json"))


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
