"""POST /attention: outputs, weights and statistics of attention."""

from typing import Any

from fastapi import APIRouter, Request, Response

from service.exchange import answer, json_wire
from service.job import Job
from service.openapi import described
from service.schemas import AttentionAnswer, AttentionRequest
from service.settings import Settings
from service.state import ServiceState, state_of
from service.text.schemas import TextAnswer, TextAttentionRequest
from service.text.validate import is_text, text_attention_job
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


TEXT = {"text": "I love programming", "layers": [-1], "heads": [0], "return": ["weights", "entropy"]}

TEXT_ANSWER = {
    "model": "default",
    "backend": "chunked",
    "results": [
        {
            "tokens": ["<|text|>", "I", " love", " programming"],
            "offsets": [[0, 0], [0, 1], [1, 6], [6, 18]],
            "layers": [
                {
                    "layer": 5,
                    "site": "decoder",
                    "heads": [0],
                    "weights": [
                        [
                            [1.0, 0.0, 0.0, 0.0],
                            [0.9033042, 0.0966958, 0.0, 0.0],
                            [0.92002404, 0.07600909, 0.003966862, 0.0],
                            [0.90752083, 0.021107998, 0.005690885, 0.0656804],
                        ]
                    ],
                    "entropy": [[0.0, 0.3177616, 0.29449293, 0.37776184]],
                }
            ],
        }
    ],
    "device": "cpu",
}

EXAMPLES = {"tensors": EXAMPLE, "text": TEXT}
ANSWERS = {"tensors": ANSWER, "text": TEXT_ANSWER}


@router.post(
    "/attention",
    **described([AttentionRequest, TextAttentionRequest], [AttentionAnswer, TextAnswer], EXAMPLES, ANSWERS),
)
async def attention(request: Request) -> Response:
    """Attention of tensors: softmax(QKᵀ·scale)V, its weights and their statistics."""
    return await answer_attention(request, state_of(request))


async def answer_attention(request: Request, state: ServiceState) -> Response:
    """What the envelope calls for this path, past the router."""
    return await answer(request, state, "/attention", _WIRE)


def _job(fields: dict[str, Any], settings: Settings, job_id: bytes) -> Job:
    return (text_attention_job if is_text(fields) else attention_job)(fields, settings, job_id)


_WIRE = json_wire(_job)
