"""What the endpoints of the OpenAI API, and those of its tokenizer beside it, take and give."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, WithJsonSchema

from service.schemas import Model

MOST_LOGPROBS = 100
"""Likeliest tokens at each place, unless all are asked for."""

_TOKEN_IDS = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1}
_PROMPT = {
    "anyOf": [
        {"type": "string", "minLength": 1},
        {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1},
        _TOKEN_IDS,
        {"type": "array", "items": _TOKEN_IDS, "minItems": 1},
    ]
}

Prompt = Annotated[Any, WithJsonSchema(_PROMPT)]
TokenIds = Annotated[Any, WithJsonSchema(_TOKEN_IDS)]


class CompletionRequest(Model):
    """Body of POST /v1/completions: prompts to score, and at most the one likeliest token after each.

    Fields of the OpenAI API that cannot change such an answer are taken; one that would is refused.
    """

    model: str | None = Field(None, description="A causal model of GET /v1/models; default: the first.")
    prompt: Prompt = Field(description="A string, a list of strings, token ids, or a list of lists of them.")
    max_tokens: int | None = Field(
        None, description="0 or 1, and needed: OpenAI's default of 16 would be generation, which is not offered."
    )
    echo: bool | None = Field(None, description="Answer the prompt before what follows it; needed with max_tokens 0.")
    logprobs: int | None = Field(
        None, ge=0, le=MOST_LOGPROBS, description="So many likeliest tokens at each place, and the token itself."
    )
    prompt_logprobs: int | None = Field(
        None, ge=-1, le=MOST_LOGPROBS, description="As vLLM has it: likeliest tokens at each place; −1: all."
    )
    temperature: float | None = Field(
        None, ge=0, le=2, description="0, which is also what none means; with max_tokens 0 any."
    )
    top_p: float | None = Field(None, ge=0, le=1, description="Taken: the likeliest token is always in it.")
    seed: int | None = Field(None, description="Taken: nothing is drawn.")
    user: str | None = Field(None, description="Taken.")
    n: int | None = Field(None, description="1.")
    best_of: int | None = Field(None, description="1.")
    stream: bool | None = Field(None, description="false.")
    stream_options: dict[str, Any] | None = Field(None, description="null.")
    stop: str | list[str] | None = Field(None, description="Strings; with max_tokens 1 none.")
    suffix: str | None = Field(None, description="Empty.")
    presence_penalty: float | None = Field(None, description="0; with max_tokens 0 any.")
    frequency_penalty: float | None = Field(None, description="0; with max_tokens 0 any.")
    logit_bias: dict[str, float] | None = Field(None, description="Empty.")


class CompletionLogprobs(Model):
    """Of each token of `text`, the log-probabilities in nats; null for a prompt's first, before which nothing stands.

    Greedy tokens are those whose `token_logprobs` is the largest of `top_logprobs`: the floats are the same. Of several
    tokens with one string `top_logprobs` has the likeliest; none is below −9999. The end of a text is a token, too.
    """

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int] = Field(description="Where each token begins in `text`, in code points.")


class PromptLogprob(Model):
    """A token at a place of the prompt; rank 1 is the likeliest, null is beyond those asked for."""

    logprob: float
    rank: int | None
    decoded_token: str


class CompletionChoice(Model):
    """One prompt; `finish_reason` is stop where the likeliest next token is the end of a text."""

    index: int
    text: str
    logprobs: CompletionLogprobs | None
    finish_reason: Literal["length", "stop"]
    prompt_logprobs: list[dict[str, PromptLogprob] | None] | None = Field(None, description="By token id.")


class CompletionUsage(Model):
    """Tokens of all prompts, and of what was generated."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class CompletionAnswer(Model):
    """Answer of POST /v1/completions, one choice for each prompt, in order."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: CompletionUsage


class TokenizeRequest(Model):
    """Body of POST /tokenize."""

    prompt: str
    add_special_tokens: bool = Field(True, description="Put what the tokenizer puts around a text.")
    model: str | None = Field(None, description="A model of GET /v1/models; default: the first.")


class TokenizeAnswer(Model):
    """Answer of POST /tokenize."""

    tokens: list[int]
    count: int
    max_model_len: int | None = Field(description="The model's context; null if it has no end.")


class DetokenizeRequest(Model):
    """Body of POST /detokenize."""

    tokens: TokenIds = Field(description="Token ids.")
    model: str | None = Field(None, description="A model of GET /v1/models; default: the first.")


class DetokenizeAnswer(Model):
    """Answer of POST /detokenize."""

    prompt: str


class TokenizerInfo(Model):
    """Answer of GET /tokenizer_info."""

    model: str
    tokenizer_class: str
    bos_token: str | None
    eos_token: str | None
    unk_token: str | None
    pad_token: str | None
    sep_token: str | None
    cls_token: str | None
    mask_token: str | None
    vocab_size: int
    max_model_len: int | None
    chat_template: str | None


class ModelCard(Model):
    """A model that requests can name."""

    id: str
    object: Literal["model"] = "model"
    created: int = Field(description="When the server began, in seconds of the epoch.")
    owned_by: str = "attnloss"
    state: str = Field(description="loading, ready or failed.")
    kind: str | None = Field(description="causal models alone complete.")
    max_model_len: int | None


class ModelList(Model):
    """Answer of GET /v1/models."""

    object: Literal["list"] = "list"
    data: list[ModelCard]


class OpenAIErrorDetail(Model):
    """What went wrong; `param` is the field, with its index."""

    message: str
    type: str
    param: str | None
    code: str


class OpenAIError(Model):
    """An error as clients of the OpenAI API read it."""

    error: OpenAIErrorDetail


SCHEMAS: tuple[type[BaseModel], ...] = (
    CompletionRequest,
    CompletionAnswer,
    TokenizeRequest,
    TokenizeAnswer,
    DetokenizeRequest,
    DetokenizeAnswer,
    TokenizerInfo,
    OpenAIError,
)
"""What the document of the API shows of this module, beside what routes return."""
