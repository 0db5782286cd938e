"""What POST /attention and POST /loss take and give for text."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from attnloss.registry import LOSSES
from service.schemas import Lse, Model, Tensor, Window, loss_models, one_of

TextStatistic = Literal["weights", "lse", "entropy", "max", "received", "top"]
TextLossReturn = Literal["loss", "alternatives", "weights", "lse", "entropy", "max", "received", "top"]
Site = Literal["encoder", "decoder", "cross"]

TWO_MAPS = frozenset(
    name for name, spec in LOSSES.items() if any(parameter.kind == "other" for parameter in spec.parameters)
)
"""Losses between two maps: for text, those of a teacher and a student."""


def _listed(value: Any) -> Any:
    if not isinstance(value, (str, list)):
        raise PydanticCustomError("text_type", "expected a text or a list of texts")
    return [value] if isinstance(value, str) else value


def _text_schema(schema: dict[str, Any]) -> None:
    listed = {key: schema.pop(key) for key in ("type", "items", "minItems") if key in schema}
    schema["anyOf"] = [{"type": "string", "minLength": 1}, listed]


Texts = Annotated[
    list[Annotated[str, Field(min_length=1)]],
    BeforeValidator(_listed),
    Field(min_length=1, json_schema_extra=_text_schema),
]
"""One text or several, as a list."""


class TextRequest(Model):
    """Text, the model that reads it, and which of its attention maps are asked for."""

    text: Texts = Field(description="A text, or a list of them; each has one entry in `results`.")
    model: str | None = Field(None, description="A model of GET /models; default: the first.")
    target_text: Texts | None = Field(None, description="What an encoder-decoder model is to say; one for each text.")
    layers: list[int] | None = Field(None, min_length=1, description="Layers; −1 is the last. Default: all.")
    heads: list[int] | None = Field(None, min_length=1, description="Heads; −1 is the last. Default: all.")
    site: Site | None = Field(
        None, description="Which attention; default: cross with target_text, else the encoder's or the decoder's own."
    )
    top_k: int | None = Field(None, ge=1, description="Keys of `top`; words of `alternatives`.")
    queries: Window | None = Field(None, description="[start, stop]: cut these queries out of weights.")
    keys: Window | None = Field(None, description="[start, stop]: cut these keys out of weights.")
    truncate: bool = Field(False, description="Cut a text that is longer than the model's context at its end.")
    aggregate: Literal["word"] | None = Field(
        None, description="Merge tokens into words: weights summed over keys and averaged over queries."
    )
    reorder: Literal["received", "attention"] | None = Field(
        None, description="Order the words by the attention they receive, or by a walk along the strongest weights."
    )
    encoding: Literal["json", "base64"] = Field("json", description="How arrays are answered.")


class TextAttentionRequest(TextRequest):
    """Body of POST /attention for text."""

    returns: list[TextStatistic] = Field(["entropy"], alias="return", min_length=1, description="What to answer.")


class TextLossEntry(Model):
    """One loss over the attention maps."""

    label: str | None = Field(None, min_length=1, max_length=128, description="Key in the answer; default: the name.")


TEXT_LOSS_MODELS: dict[str, type[TextLossEntry]] = loss_models(TextLossEntry, "TextLoss", frozenset({"other"}))
AnyTextLoss: Any = one_of(TEXT_LOSS_MODELS)

Pair = Annotated[list[int], Field(min_length=2, max_length=2)]


class Order(Model):
    """How the given order of the words compares with others."""

    permutations: int = Field(16, ge=1, description="Other orders to score; all of them if there are no more.")
    unit: Literal["word"] = Field("word", description="What is put in another order: words between white space.")
    seed: int = Field(0, ge=0, lt=2**63, description="Of the choice of orders.")


class TextLossRequest(TextRequest):
    """Body of POST /loss for text."""

    layers: list[int] | list[Pair] | None = Field(  # type: ignore[assignment]  # pairs come with a teacher
        None, min_length=1, description="Layers; with a teacher, pairs [teacher's layer, student's layer]."
    )
    returns: list[TextLossReturn] = Field(
        ["loss"], alias="return", description="What to answer beside losses, order and reorder."
    )
    losses: list[AnyTextLoss] | None = Field(None, min_length=1, description="Losses over the attention maps.")
    reduction: Literal["none", "mean", "sum"] = Field("mean", description="Of `losses`, over each head's queries.")
    stride: int | None = Field(
        None, ge=1, description="Score a text beyond the context by windows that begin this many tokens apart."
    )
    order: Order | None = Field(None, description="Score other orders of the text's words.")
    teacher: str | None = Field(None, description="A model whose maps the student's are compared with.")
    student: str | None = Field(None, description="The model that is compared with the teacher.")


class TextTop(Model):
    """The strongest keys of each query, by head; index −1 where there are fewer."""

    index: Tensor
    weight: Tensor


class TextLayer(Model):
    """What was asked of one layer, by head."""

    layer: int
    site: Site
    heads: list[int] = Field(description="The heads of what follows, in the order asked for.")
    weights: Tensor | None = Field(None, description="[heads, n, m].")
    lse: Lse | None = None
    entropy: Tensor | None = Field(None, description="[heads, n], nats.")
    max: Tensor | None = None
    received: Tensor | None = Field(None, description="[heads, m].")
    top: TextTop | None = None
    losses: dict[str, Any] | None = Field(None, description="Each loss by label: a number for each head.")


class Alternative(Model):
    """A token that the model finds likely at a place."""

    token: str
    id: int
    log_prob: float


class Shuffle(Model):
    """Another order of the words, and its nats."""

    text: str
    nats: float


class OrderAnswer(Model):
    """Nats of the given order among others, given BOS; rank 1 is the most probable."""

    given: float
    rank: int
    of: int
    best: str
    shuffles: list[Shuffle]


class Reordered(Model):
    """The words in the order that their weights give."""

    by: Literal["received", "attention"]
    words: list[str]
    index: list[int]
    text: str


class LayerPair(Model):
    """What the maps of two layers differ by."""

    teacher_layer: int
    student_layer: int
    losses: dict[str, Any]


class TextResult(Model):
    """One text: its tokens, or words with `aggregate`, and what was asked."""

    tokens: list[str] = Field(examples=[["I", " love", " programming"]])
    offsets: list[list[int]] = Field(description="[start, stop] in code points; [0, 0] for special tokens.")
    target_tokens: list[str] | None = None
    target_offsets: list[list[int]] | None = None
    key_tokens: list[str] | None = Field(
        None, description="What a decoder's queries look at: its inputs, for decoder maps."
    )
    layers: list[TextLayer] | None = None
    log_probs: list[float | None] | None = Field(None, description="Of each token; null where nothing scores it.")
    loss: float | None = Field(None, description="Nats per scored token.")
    perplexity: float | None = Field(None, description="e to the loss; null beyond e^709.")
    bits_per_byte: float | None = Field(None, description="Scored nats / ln 2 / UTF-8 bytes of the scored text.")
    alternatives: list[list[Alternative] | None] | None = None
    order: OrderAnswer | None = None
    reorder: Reordered | None = None
    pairs: list[LayerPair] | None = None
    truncated: bool | None = Field(None, description="True if the text was cut.")


class TextAnswer(Model):
    """Answer for text."""

    model: str | None = None
    teacher: str | None = None
    student: str | None = None
    results: list[TextResult]
    backend: str | None = Field(None, description="What computed it, joined by +.", examples=["native+chunked"])
    device: str
    autocast: str | None = Field(None, description="The dtype of the forward, if the server is set to another.")
