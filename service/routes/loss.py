"""POST /loss: losses over attention weights, with gradients."""

from fastapi import APIRouter, Request, Response

from service.openapi import described
from service.routes.tensors import answer
from service.schemas import LossAnswer, LossRequest
from service.state import ServiceState, state_of
from service.validate import loss_job

router = APIRouter()

EXAMPLE = {
    "query": [[1.0, 0.0], [0.0, 1.0]],
    "key": [[1.0, 0.0], [0.0, 1.0]],
    "losses": [{"name": "entropy"}, {"name": "cross_entropy", "target": [0, 1], "weight": 0.5}],
    "return": ["loss", "grad"],
}


@router.post("/loss", **described(LossRequest, LossAnswer, EXAMPLE))
async def loss(request: Request) -> Response:
    """Losses over the attention weights of tensors, reduced or per query, and their gradients."""
    return await answer_loss(request, state_of(request))


async def answer_loss(request: Request, state: ServiceState) -> Response:
    """What the envelope calls for this path, past the router."""
    return await answer(request, state, "/loss", loss_job)
