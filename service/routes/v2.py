"""/v2: the Open Inference Protocol with binary tensors, as Triton's clients speak it."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

import attnloss
from service.errors import NotFound
from service.exchange import Wire, answer
from service.oip.answer import VERSION
from service.oip.framing import lead_bytes, memory_bytes
from service.oip.metadata import EXTENSIONS, METADATA
from service.oip.request import read
from service.oip.schemas import ModelMetadata, ServerMetadata
from service.openapi import described_infer
from service.state import ServiceState, state_of

router = APIRouter(prefix="/v2")

_WIRES = {
    model: Wire(partial(read, model), memory_bytes, lead_bytes, frozenset({"application/octet-stream"}))
    for model in METADATA
}


async def answer_infer(model: str, request: Request, state: ServiceState) -> Response:
    """What the envelope calls for a model's inference, past the router."""
    return await answer(request, state, f"/v2/models/{model}/infer", _WIRES[model])


HANDLERS: dict[str, Callable[[Request, ServiceState], Awaitable[Response]]] = {
    f"/v2/models/{model}{version}/infer": partial(answer_infer, model)
    for model in METADATA
    for version in ("", f"/versions/{VERSION}")
}
"""Inference by path."""


def _check(model: str, version: str = VERSION) -> None:
    if model not in METADATA:
        raise NotFound(f"There is no model {model!r}; there are {', '.join(METADATA)}.")
    if version != VERSION:
        raise NotFound(f"The model {model} has version {VERSION}, not {version!r}.")


@router.post("/models/{model}/infer", **described_infer())
@router.post("/models/{model}/versions/{version}/infer", **described_infer())
async def infer(request: Request, model: str, version: str = VERSION) -> Response:
    """Attention, or losses over its weights, of tensors that lie behind the JSON header as they are in memory."""
    _check(model, version)
    return await answer_infer(model, request, state_of(request))


@router.get("")
@router.get("/", include_in_schema=False)
async def server() -> ServerMetadata:
    """The server's name, version and extensions of the protocol."""
    return ServerMetadata(name="attnloss", version=attnloss.__version__, extensions=list(EXTENSIONS))


@router.get("/health/live")
async def live() -> dict[str, bool]:
    """200 while the process serves."""
    return {"live": True}


def _readiness(request: Request) -> Response:
    is_ready = state_of(request).is_ready
    return JSONResponse({"ready": is_ready} if is_ready else {"error": "not ready"}, 200 if is_ready else 503)


_REFUSED = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/V2Error"}}}}
_NO_MODEL: dict[int | str, dict[str, Any]] = {404: {"description": "No such model or version.", **_REFUSED}}
_NOT_READY: dict[int | str, dict[str, Any]] = {503: {"description": "Not ready.", **_REFUSED}}


@router.get("/health/ready", responses=_NOT_READY)
async def ready(request: Request) -> Response:
    """200 when a worker has computed a forward since its last failure and the server is not draining."""
    return _readiness(request)


@router.get("/models/{model}/ready", responses=_NOT_READY | _NO_MODEL)
@router.get("/models/{model}/versions/{version}/ready", responses=_NOT_READY | _NO_MODEL)
async def model_ready(request: Request, model: str, version: str = VERSION) -> Response:
    """200 when the model can be asked; 404 if there is no such model."""
    _check(model, version)
    return _readiness(request)


@router.get("/models/{model}", responses=_NO_MODEL)
@router.get("/models/{model}/versions/{version}", responses=_NO_MODEL)
async def model_metadata(model: str, version: str = VERSION) -> ModelMetadata:
    """Inputs and outputs with datatypes and shapes."""
    _check(model, version)
    return METADATA[model]
