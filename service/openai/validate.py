"""From the fields of a body to a job of text: all that can be said of it before the worker's tokenizer has seen it."""

import time
from typing import Any

import numpy as np

from service.errors import FieldProblem, Invalid, NotFound
from service.job import Job
from service.openai.prompts import packed, texts_or_ids, token_ids
from service.openai.schemas import CompletionRequest, DetokenizeRequest, TokenizeRequest
from service.settings import Settings
from service.validation import validated

_BYTES_PER_TOKEN = 4
"""Of English; until the worker has tokenised them, a text's cost is foretold by its bytes."""


def completion_job(fields: dict[str, Any], settings: Settings, job_id: bytes) -> Job:
    """The job of a POST /v1/completions body. Raises Invalid, TooLarge or NotFound."""
    request = validated(CompletionRequest, fields)
    _check_generation(request)
    texts, ids = texts_or_ids(request.prompt, settings)
    check_model(request.model, settings)
    options = {
        "endpoint": "completions",
        "model": request.model,
        "text": texts,
        "listed": isinstance(request.prompt, list) and not isinstance(request.prompt[0], int),
        "max_tokens": request.max_tokens,
        "echo": bool(request.echo),
        "logprobs": request.logprobs,
        "prompt_logprobs": request.prompt_logprobs,
    }
    return _job(options, {} if ids is None else packed(ids), settings, job_id)


def tokenize_job(fields: dict[str, Any], settings: Settings, job_id: bytes) -> Job:
    """The job of a POST /tokenize body. Raises Invalid, TooLarge or NotFound."""
    request = validated(TokenizeRequest, fields)
    if request.prompt:
        texts_or_ids(request.prompt, settings)
    check_model(request.model, settings)
    options = {"model": request.model, "text": [request.prompt], "add_special_tokens": request.add_special_tokens}
    return _job({"endpoint": "tokenize"} | options, {}, settings, job_id)


def detokenize_job(fields: dict[str, Any], settings: Settings, job_id: bytes) -> Job:
    """The job of a POST /detokenize body. Raises Invalid or NotFound."""
    request = validated(DetokenizeRequest, fields)
    ids = token_ids(request.tokens, "tokens") if request.tokens != [] else []
    check_model(request.model, settings)
    arrays = packed([ids])
    return _job({"endpoint": "detokenize", "model": request.model, "text": None}, arrays, settings, job_id)


def tokenizer_info_job(model: str | None, settings: Settings, job_id: bytes) -> Job:
    """The job of GET /tokenizer_info. Raises NotFound."""
    check_model(model, settings)
    return _job({"endpoint": "tokenizer_info", "model": model, "text": None}, {}, settings, job_id)


def check_model(name: str | None, settings: Settings) -> None:
    """Raise NotFound for a model that is not configured."""
    names = ", ".join(settings.model_sources)
    if not names:
        raise _no_model("No text model is configured; ATTNLOSS_MODELS names them.")
    if name is not None and name not in settings.model_sources:
        raise _no_model(f"There is no model {name!r:.200}; there are {names}.")


def _no_model(sentence: str) -> NotFound:
    return NotFound(sentence, errors=[FieldProblem("model", sentence)])


def _check_generation(request: CompletionRequest) -> None:
    """Refuse what asks for another answer than a score."""
    if request.max_tokens not in (0, 1):
        came = "none came, which OpenAI takes for 16" if request.max_tokens is None else f"came {request.max_tokens}"
        expected = "expected 0 or 1, since prompts are scored and at most the likeliest next token is given"
        raise Invalid.field("max_tokens", f"{expected}; {came}")
    for name in ("n", "best_of"):
        if getattr(request, name) not in (None, 1):
            raise Invalid.field(name, f"expected 1, came {getattr(request, name)}: nothing is drawn")
    if request.stream:
        raise Invalid.field("stream", "expected false: an answer comes whole")
    for name in ("suffix", "logit_bias", "stream_options"):
        if getattr(request, name):
            raise Invalid.field(name, "is not offered: leave it out")
    if request.max_tokens == 0:
        if not request.echo and request.prompt_logprobs is None:
            raise Invalid.field("echo", "expected true with max_tokens 0, or there is nothing to answer")
        return
    if request.temperature:
        came = f"came {request.temperature:g}: the likeliest token is given, none is drawn"
        raise Invalid.field("temperature", f"expected 0 with max_tokens 1, {came}")
    for name in ("stop", "presence_penalty", "frequency_penalty"):
        if getattr(request, name):
            raise Invalid.field(name, "could change the generated token: leave it out, or ask for max_tokens 0")


def _job(options: dict[str, Any], arrays: dict[str, np.ndarray], settings: Settings, job_id: bytes) -> Job:
    texts = options["text"] or []
    size = sum(len(text.encode(errors="surrogatepass")) for text in texts)
    size += _BYTES_PER_TOKEN * len(arrays.get("ids", ()))
    now = time.monotonic()
    return Job(
        id=job_id,
        kind="text",
        arrays=arrays,
        options=options,
        group=options["endpoint"],
        batch=max(len(texts), 1),
        heads=1,
        n=max(size, 1),
        m=max(size, 1),
        cost=max(size, 1),
        deadline_s=now + settings.deadline_s,
        arrival_s=now,
    )
