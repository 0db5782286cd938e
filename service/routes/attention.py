"""POST /attention: outputs, weights and statistics of attention."""

from fastapi import APIRouter, Request, Response

from service.openapi import described
from service.routes.tensors import answer
from service.schemas import AttentionAnswer, AttentionRequest
from service.state import ServiceState, state_of
from service.validate import attention_job

router = APIRouter()

EXAMPLE = {
    "query": [[1.0, 0.0], [0.0, 1.0]],
    "key": [[1.0, 0.0], [0.0, 1.0]],
    "value": [[1.0, 2.0], [3.0, 4.0]],
    "return": ["output", "weights", "entropy"],
}

ANSWER = {
    "backend": "chunked",
    "device": "cpu",
    "output": [[1.6604769, 2.660477], [2.339523, 3.339523]],
    "weights": [[0.66976154, 0.33023846], [0.33023846, 0.66976154]],
    "entropy": [0.6343474, 0.6343474],
}


@router.post("/attention", **described(AttentionRequest, AttentionAnswer, EXAMPLE, ANSWER))
async def attention(request: Request) -> Response:
    """Attention of tensors: softmax(QKᵀ·scale)V, its weights and their statistics."""
    return await answer_attention(request, state_of(request))


async def answer_attention(request: Request, state: ServiceState) -> Response:
    """What the envelope calls for this path, past the router."""
    return await answer(request, state, "/attention", attention_job)
