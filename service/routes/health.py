"""GET /health/live, /health/ready and /metrics: for probes and for Prometheus."""

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from service.state import state_of

router = APIRouter()


@router.get("/health/live")
async def live() -> dict[str, bool]:
    """200 while the process serves."""
    return {"live": True}


@router.get("/health/ready", responses={503: {"description": "Not ready; the body says which worker is not."}})
async def ready(request: Request) -> Response:
    """200 when a worker has computed a forward since its last failure and the server is not draining, else 503.

    `why` says what is wrong with a worker that is not ready. `models` says of each text model whether it is loading,
    ready or failed; tensors do not wait for them.
    """
    state = state_of(request)
    is_ready = state.is_ready
    workers = state.dispatch.workers
    models = dict.fromkeys(state.settings.model_sources, "loading")
    models |= {name: entry["state"] for name, entry in state.dispatch.models.items()}
    body: dict[str, Any] = {"ready": is_ready, "workers": workers, "models": models}
    return JSONResponse(body, 200 if is_ready else 503)


_TEXT: dict[int | str, dict[str, Any]] = {
    200: {"description": "The metrics.", "content": {"text/plain": {"schema": {"type": "string"}}}}
}


@router.get("/metrics", response_class=Response, responses=_TEXT)
async def metrics(request: Request) -> Response:
    """Counts and timings of all processes, as Prometheus reads them."""
    from service.metrics.exposition import CONTENT_TYPE, exposition  # imported late: see service.serving

    return Response(exposition(state_of(request)), media_type=CONTENT_TYPE)
