"""GET /losses and GET /models: what can be asked for."""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request

from attnloss.registry import LOSSES
from service.state import state_of

router = APIRouter()


@router.get("/losses")
async def losses() -> dict[str, Any]:
    """Every loss: its parameters with ranges, what it needs, whether it has a gradient and values per query."""
    return {"losses": [asdict(spec) for spec in LOSSES.values()]}


@router.get("/models")
async def models(request: Request) -> dict[str, Any]:
    """The text models: architecture, layers, heads, context length, dtype, device, revision; the first is the default.

    `state` is loading, ready or failed; `layout` is how the worker batches texts.
    """
    state = state_of(request)
    known = state.dispatch.models
    configured = state.settings.model_sources
    return {"models": [known.get(name, {"name": name, "state": "loading"}) for name in configured]}
