"""GET /losses and GET /models: what can be asked for."""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter

from attnloss.registry import LOSSES

router = APIRouter()


@router.get("/losses")
async def losses() -> dict[str, Any]:
    """Every loss: its parameters with ranges, what it needs, whether it has a gradient and values per query."""
    return {"losses": [asdict(spec) for spec in LOSSES.values()]}


@router.get("/models")
async def models() -> dict[str, Any]:
    """The language models that are loaded."""
    return {"models": []}
