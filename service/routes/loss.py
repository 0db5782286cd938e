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

ANSWER = {
    "loss": 0.8347641,
    "losses": {"entropy": 0.6343474, "cross_entropy": 0.40083355},
    "grad": {
        "query": [[-0.113673694, 0.11367372], [0.11367372, -0.113673694]],
        "key": [[-0.113673694, 0.11367372], [0.11367372, -0.113673694]],
    },
    "backend": "chunked",
    "device": "cpu",
}


@router.post("/loss", **described(LossRequest, LossAnswer, EXAMPLE, ANSWER))
async def loss(request: Request) -> Response:
    """Losses over the attention weights of tensors, reduced or per query, and their gradients."""
    return await answer_loss(request, state_of(request))


async def answer_loss(request: Request, state: ServiceState) -> Response:
    """What the envelope calls for this path, past the router."""
    return await answer(request, state, "/loss", loss_job)
