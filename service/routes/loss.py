"""POST /loss: losses over attention weights, with gradients."""

from typing import Any

from fastapi import APIRouter, Request, Response

from service.exchange import answer, json_wire
from service.job import Job
from service.openapi import described
from service.schemas import LossAnswer, LossRequest
from service.settings import Settings
from service.state import ServiceState, state_of
from service.text.schemas import TextAnswer, TextLossRequest
from service.text.validate import is_text, text_loss_job
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


TEXT = {"text": "I love programming", "order": {"permutations": 2}}

TEXT_ANSWER = {
    "model": "default",
    "results": [
        {
            "tokens": ["<|text|>", "I", " love", " programming"],
            "offsets": [[0, 0], [0, 1], [1, 6], [6, 18]],
            "log_probs": [None, -5.3493705, -7.5173087, -11.637607],
            "loss": 8.1680954,
            "perplexity": 3526.6207612476273,
            "bits_per_byte": 1.9640117878479921,
            "order": {
                "given": 24.504286289215088,
                "rank": 1,
                "of": 3,
                "best": "I love programming",
                "shuffles": [
                    {"text": "programming I love", "nats": 27.602765560150146},
                    {"text": "programming love I", "nats": 28.42777967453003},
                ],
            },
        }
    ],
    "backend": "chunked",
    "device": "cpu",
}

EXAMPLES = {"tensors": EXAMPLE, "text": TEXT}
ANSWERS = {"tensors": ANSWER, "text": TEXT_ANSWER}


@router.post("/loss", **described([LossRequest, TextLossRequest], [LossAnswer, TextAnswer], EXAMPLES, ANSWERS))
async def loss(request: Request) -> Response:
    """Losses over the attention weights of tensors, reduced or per query, and their gradients."""
    return await answer_loss(request, state_of(request))


async def answer_loss(request: Request, state: ServiceState) -> Response:
    """What the envelope calls for this path, past the router."""
    return await answer(request, state, "/loss", _WIRE)


def _job(fields: dict[str, Any], settings: Settings, job_id: bytes) -> Job:
    return (text_loss_job if is_text(fields) else loss_job)(fields, settings, job_id)


_WIRE = json_wire(_job)
