"""The OpenAI API for scoring: POST /v1/completions, GET /v1/models, and the tokenizer that clients ask beside it."""

import time
from collections.abc import Awaitable, Callable, Mapping
from functools import cache, partial

from fastapi import APIRouter, Request, Response

from service.exchange import Wire, Write, answer, json_wire, write_json
from service.job import Job
from service.openai import schemas
from service.openai.answers import write_completion
from service.openai.examples import EXAMPLES
from service.openai.validate import check_model, completion_job, detokenize_job, tokenize_job, tokenizer_info_job
from service.openapi import described
from service.settings import Settings
from service.state import ServiceState, state_of

router = APIRouter()

_described = partial(described, refusal=schemas.OpenAIError, refusal_media_type="application/json")


@router.post(
    "/v1/completions",
    **_described([schemas.CompletionRequest], [schemas.CompletionAnswer], *EXAMPLES["/v1/completions"]),
)
async def completions(request: Request) -> Response:
    """Log-probabilities of prompts, given as text or as token ids, and of the likeliest token after each."""
    return await answer(request, state_of(request), "/v1/completions", _COMPLETIONS)


@router.post("/tokenize", **_described([schemas.TokenizeRequest], [schemas.TokenizeAnswer], *EXAMPLES["/tokenize"]))
async def tokenize(request: Request) -> Response:
    """The token ids of a text."""
    return await answer(request, state_of(request), "/tokenize", _TOKENIZE)


@router.post(
    "/detokenize", **_described([schemas.DetokenizeRequest], [schemas.DetokenizeAnswer], *EXAMPLES["/detokenize"])
)
async def detokenize(request: Request) -> Response:
    """The text of token ids, special tokens written out."""
    return await answer(request, state_of(request), "/detokenize", _DETOKENIZE)


@router.get("/tokenizer_info", responses={200: {"model": schemas.TokenizerInfo}, 404: {"model": schemas.OpenAIError}})
async def tokenizer_info(request: Request, model: str | None = None) -> Response:
    """The special tokens, the chat template and the class of a model's tokenizer; of the first model by default."""

    def read(body: bytes, headers: Mapping[str, str], settings: Settings, job_id: bytes) -> tuple[Job, Write]:
        return tokenizer_info_job(model, settings, job_id), write_json

    return await answer(request, state_of(request), "/tokenizer_info", Wire(read))


@router.get("/v1/models")
async def models(request: Request) -> schemas.ModelList:
    """The models that requests can name, as OpenAI lists them; GET /models tells more of each."""
    state = state_of(request)
    return schemas.ModelList(data=[_card(name, state) for name in state.settings.model_sources])


@router.get("/v1/models/{name:path}", responses={404: {"model": schemas.OpenAIError}})
async def model(request: Request, name: str) -> schemas.ModelCard:
    """One of them."""
    state = state_of(request)
    check_model(name, state.settings)
    return _card(name, state)


def _card(name: str, state: ServiceState) -> schemas.ModelCard:
    known = state.dispatch.models.get(name, {"state": "loading"})
    told = {"state": known["state"], "kind": known.get("kind"), "max_model_len": known.get("context_length")}
    return schemas.ModelCard(id=name, created=_began(), **told)


@cache
def _began() -> int:
    return int(time.time())


_COMPLETIONS = json_wire(
    completion_job, {}, lambda job, _: partial(write_completion, options=job.options, job_id=job.id)
)
_TOKENIZE = json_wire(tokenize_job, {})
_DETOKENIZE = json_wire(detokenize_job, {})

HANDLERS: dict[str, Callable[[Request, ServiceState], Awaitable[Response]]] = {
    path: partial(answer, route=path, wire=wire)
    for path, wire in (("/v1/completions", _COMPLETIONS), ("/tokenize", _TOKENIZE), ("/detokenize", _DETOKENIZE))
}
"""What the envelope calls for these paths, past the router."""
