"""From the fields of a body with text to a job: all that can be said of it before it is tokenised."""

import time
from typing import Any

import numpy as np

from attnloss.registry import LOSSES
from service.errors import Invalid, NotFound, TooLarge
from service.job import Job
from service.schemas import Model
from service.settings import Settings
from service.text.schemas import TWO_MAPS, TextAttentionRequest, TextLossRequest, TextRequest
from service.validation import validated

FIELDS = frozenset(TextAttentionRequest.model_fields | TextLossRequest.model_fields) - {"encoding"}


def is_text(fields: dict[str, Any]) -> bool:
    """Whether a body asks about text and not about tensors. Raises Invalid for one that does both or neither."""
    tensors = [name for name in ("query", "key", "value") if name in fields]
    if "text" in fields and tensors:
        raise Invalid.field("text", f"expected tensors or text, came both: {tensors[0]} as well")
    if not tensors and "text" not in fields and ("target_text" in fields or "model" in fields):
        raise Invalid.field("text", "this field is needed")
    return "text" in fields


def text_attention_job(fields: dict[str, Any], settings: Settings, job_id: bytes) -> Job:
    """The job of a POST /attention body with text. Raises Invalid or NotFound."""
    request = validated(TextAttentionRequest, fields)
    _check(request, settings)
    _check_models(request, settings)
    return _job("attention", request, {}, settings, job_id)


def text_loss_job(fields: dict[str, Any], settings: Settings, job_id: bytes) -> Job:
    """The job of a POST /loss body with text. Raises Invalid or NotFound."""
    request = validated(TextLossRequest, fields)
    _check_losses(request, settings)
    _check_pairs(request)
    _check(request, settings)
    if "alternatives" in request.returns and request.top_k is None:
        raise Invalid.field("top_k", "needed, since `return` asks for alternatives")
    if request.stride is not None:
        others = request.losses or request.order or request.reorder or set(request.returns) - {"loss", "alternatives"}
        if others or request.teacher or request.target_text or request.truncate:
            message = "windows give the loss and alternatives of `text` alone; leave truncate and the rest out"
            raise Invalid.field("stride", message)
    if request.order is not None:
        if request.order.permutations > settings.max_permutations:
            came = f"expected at most {settings.max_permutations}, came {request.order.permutations}"
            raise Invalid.field("order.permutations", came)
        if request.target_text:
            raise Invalid.field(
                "order", "orders are of `text`, whose words a causal model scores; leave out target_text"
            )
    if not (request.returns or request.losses or request.order or request.reorder or request.teacher):
        raise Invalid.field("return", "empty, and no losses, order or reorder are asked for either")
    arrays = _arrays(request)
    _check_models(request, settings)
    return _job("loss", request, arrays, settings, job_id)


def _check(request: TextRequest, settings: Settings) -> None:
    if len(request.text) > settings.max_texts:
        raise Invalid.field("text", f"expected at most {settings.max_texts} texts, came {len(request.text)}")
    if request.target_text is not None and len(request.target_text) != len(request.text):
        came = f"expected one for each of the {len(request.text)} texts, came {len(request.target_text)}"
        raise Invalid.field("target_text", came)
    returns: list[str] = request.returns  # type: ignore[attr-defined]
    if "top" in returns and request.top_k is None:
        raise Invalid.field("top_k", "needed, since `return` asks for top")
    for name in ("queries", "keys"):
        window = getattr(request, name)
        if window is not None and "weights" not in returns:
            raise Invalid.field(name, "cuts a window out of weights, which `return` does not ask for")
        if window is not None and not 0 <= window[0] < window[1]:
            raise Invalid.field(name, f"expected 0 ≤ start < stop, came {window}")
    if request.aggregate and (unmerged := set(returns) & {"lse", "max", "top", "alternatives"}):
        raise Invalid.field("aggregate", f"words have weights, entropy, received and losses, no {min(unmerged)}")
    if request.aggregate and (request.queries or request.keys):
        raise Invalid.field("aggregate", "words are merged from whole maps; leave out queries and keys")


def _check_models(request: TextRequest, settings: Settings) -> None:
    """Last of all: what is wrong with the fields is told first."""
    for name in ("model", "teacher", "student"):
        model = getattr(request, name, None)
        if model is not None and model not in settings.model_sources:
            raise NotFound(f"There is no model {model!r}; there are {', '.join(settings.model_sources) or 'none'}.")
    if not settings.model_sources:
        raise NotFound("No text model is configured; ATTNLOSS_MODELS names them.")


def _check_losses(request: TextLossRequest, settings: Settings) -> None:
    entries = request.losses or []
    if len(entries) > settings.max_losses:
        raise Invalid.field("losses", f"expected at most {settings.max_losses}, came {len(entries)}")
    labels = [entry.label or entry.name for entry in entries]
    for i, label in enumerate(labels):
        if label in labels[:i]:
            raise Invalid.field(f"losses[{i}].label", f"{label!r} is taken by losses[{labels.index(label)}]")
        if (entries[i].name in TWO_MAPS) != (request.teacher is not None):
            between = "compares two maps: name a teacher and a student"
            within = f"is of one map; a teacher and a student are compared by {', '.join(sorted(TWO_MAPS))}"
            raise Invalid.field(f"losses[{i}].name", within if request.teacher else between)
        if request.aggregate and request.reduction == "none" and not LOSSES[entries[i].name].per_query:
            raise Invalid.field(f"losses[{i}]", "it has no values per query that words could merge")


def _check_pairs(request: TextLossRequest) -> None:
    pairs = request.layers is not None and isinstance(request.layers[0], list)
    if (request.teacher is None) != (request.student is None):
        raise Invalid.field("student" if request.student is None else "teacher", "teacher and student come together")
    if request.teacher is None:
        if pairs:
            raise Invalid.field("layers", "pairs of layers need a teacher and a student")
        return
    if request.layers is not None and not pairs:
        raise Invalid.field("layers", "with a teacher, expected pairs [teacher's layer, student's layer]")
    alone = {"model": request.model, "order": request.order, "reorder": request.reorder, "aggregate": request.aggregate}
    for name, value in alone.items():
        if value is not None:
            raise Invalid.field(name, "cannot be asked for beside teacher and student")
    if request.returns not in ([], ["loss"]):
        raise Invalid.field("return", "teacher and student give the losses between their maps, and nothing beside")


def _arrays(request: TextLossRequest) -> dict[str, np.ndarray]:
    """Arrays of losses, for one text only, since each text has maps of its own size."""
    arrays = {}
    for i, entry in enumerate(request.losses or []):
        for name in type(entry).model_fields:
            value = getattr(entry, name)
            if isinstance(value, np.ndarray):
                arrays[f"losses.{i}.{name}"] = np.ascontiguousarray(value)
    if arrays and len(request.text) > 1:
        _, number, name = next(iter(arrays)).split(".")
        raise Invalid.field(
            f"losses[{number}].{name}", f"an array fits the map of one text, came {len(request.text)} texts"
        )
    return arrays


def _job(endpoint: str, request: TextRequest, arrays: dict[str, np.ndarray], settings: Settings, job_id: bytes) -> Job:
    size = sum(len(text.encode(errors="surrogatepass")) for text in [*request.text, *(request.target_text or [])])
    if size > settings.max_text_bytes:
        limit = f"the limit is {settings.max_text_bytes}; send fewer or shorter texts"
        raise TooLarge(f"The texts take {size} bytes, {limit}.")
    now = time.monotonic()
    return Job(
        id=job_id,
        kind="text",
        arrays=arrays,
        options={"endpoint": endpoint, **_plain(request)},
        group="",
        batch=len(request.text),
        heads=1,
        n=size,
        m=size,
        cost=size,
        deadline_s=now + settings.deadline_s,
        arrival_s=now,
    )


def _plain(request: Model) -> dict[str, Any]:
    """The request without its arrays, as the link carries it."""
    plain: dict[str, Any] = {}
    for name in type(request).model_fields:
        value = getattr(request, name)
        if isinstance(value, Model):
            value = _plain(value)
        elif isinstance(value, list) and value and isinstance(value[0], Model):
            value = [_plain(item) for item in value]
        if not isinstance(value, np.ndarray):
            plain[name] = value
    return plain
