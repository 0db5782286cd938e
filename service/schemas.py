"""What the endpoints take and give: pydantic models that validate and that OpenAPI shows."""

from functools import reduce
from operator import or_
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema, create_model

from attnloss.registry import LOSSES, LossSpec, Parameter
from service.codec import TensorKind

TENSOR_FIELDS: dict[str, TensorKind] = {
    "query": "float",
    "key": "float",
    "value": "float",
    "probability": "float",
    "target": "number",
    "target_weights": "float",
    "mask": "bool",
}
"""Fields of a request, at any depth, that the codec turns into arrays."""

MOST_INDICES = 1024
"""Keys that one loss may choose."""

Dtype = Literal["float32", "float64", "bfloat16", "float16"]
Statistic = Literal["output", "weights", "lse", "entropy", "max", "received", "top"]
LossReturn = Literal["loss", "per_query", "grad", "output", "weights", "lse", "entropy", "max", "received", "top"]


def _array(value: Any) -> np.ndarray:
    if not isinstance(value, np.ndarray):
        raise ValueError("expected a nested list or a base64 tensor")
    return value


def _tensor_schema(items: dict[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {"type": "array", "items": {"anyOf": [items, {"type": "array", "items": {}}]}}
    return {"anyOf": [nested, {"$ref": "#/components/schemas/Base64Tensor"}]}


Tensor = Annotated[np.ndarray, PlainValidator(_array), WithJsonSchema(_tensor_schema({"type": "number"}))]
Mask = Annotated[np.ndarray, PlainValidator(_array), WithJsonSchema(_tensor_schema({"type": "boolean"}))]
Lse = Annotated[np.ndarray, PlainValidator(_array), WithJsonSchema(_tensor_schema({"type": ["number", "null"]}))]
Window = Annotated[list[int], Field(min_length=2, max_length=2)]


class Model(BaseModel):
    """Unknown fields are refused, and nothing is coerced: `casual: true` must not silently answer differently."""

    model_config = ConfigDict(extra="forbid", strict=True, arbitrary_types_allowed=True, allow_inf_nan=False)


class TensorRequest(Model):
    """Query, key and value, and how to attend."""

    query: Tensor = Field(description="[n, d], [batch, n, d] or [batch, heads, n, d].")
    key: Tensor = Field(description="[m, d] with the query's leading dims; its heads divide the query's.")
    value: Tensor | None = Field(None, description="[m, value_d] with the key's leading dims; needed for output.")
    causal: bool = Field(False, description="A query sees the keys up to its own place, aligned to the end.")
    scale: float | None = Field(None, description="Factor of the scores; default 1/√d.")
    mask: Mask | None = Field(None, description="True where a query may attend: [n, m] or the shape of weights.")
    key_lengths: list[int] | None = Field(None, description="Valid keys of each batch entry, 0…m.")
    query_lengths: list[int] | None = Field(None, description="Valid queries of each batch entry, 0…n.")
    dtype: Dtype = Field("float32", description="Compute type; answers are float32, or float64 if asked.")
    top_k: int | None = Field(None, ge=1, description="Keys of `top`, at most m.")
    queries: Window | None = Field(None, description="[start, stop]: cut these queries out of weights.")
    keys: Window | None = Field(None, description="[start, stop]: cut these keys out of weights.")
    encoding: Literal["json", "base64"] = Field("json", description="How arrays are answered.")


class AttentionRequest(TensorRequest):
    """Body of POST /attention."""

    returns: list[Statistic] = Field(["output", "weights"], alias="return", min_length=1, description="What to answer.")


class LossEntry(Model):
    """One loss of a request: its name, its weight in the total, its label in the answer."""

    weight: float = Field(1.0, description="Factor of this loss in `loss`.")
    label: str | None = Field(None, min_length=1, max_length=128, description="Key in the answer; default: the name.")


class OtherMap(Model):
    """The second map of a loss between two; mask, causal and lengths are the request's."""

    query: Tensor = Field(description="The request's batch, heads and n, with a head dim of its own.")
    key: Tensor = Field(description="The request's batch and m, the head dim of `query`; heads divide the request's.")
    scale: float | None = Field(None, description="Factor of the scores; default 1/√d.")


_TYPES: dict[str, Any] = {"number": float, "other": OtherMap}


def _parameter_field(parameter: Parameter) -> tuple[Any, Any]:
    kind = Literal[parameter.choices] if parameter.kind == "choice" else _TYPES.get(parameter.kind, Tensor)
    bounds: dict[str, Any] = {}
    if parameter.kind == "number":
        bounds = {"ge": parameter.minimum, "lt": parameter.maximum}
    if parameter.kind == "indices":
        kind, bounds = list[Annotated[int, Field(ge=0, lt=2**31)]], {"min_length": 1, "max_length": MOST_INDICES}
    if parameter.required:
        return kind, Field(description=parameter.help, **bounds)
    default = list(parameter.default) if isinstance(parameter.default, tuple) else parameter.default
    return kind if default is not None else kind | None, Field(default, description=parameter.help, **bounds)


def loss_models(base: type[Model], suffix: str = "Loss", without: frozenset[str] = frozenset()) -> dict[str, type[Any]]:
    """A model of every loss of the registry by its name, less the parameters whose kind is in `without`."""
    return {name: _loss_model(spec, base, suffix, without) for name, spec in LOSSES.items()}


def _loss_model(spec: LossSpec, base: type[Model], suffix: str, without: frozenset[str]) -> type[Any]:
    taken = [parameter for parameter in spec.parameters if parameter.kind not in without]
    parameters = {parameter.name: _parameter_field(parameter) for parameter in taken}
    fields: dict[str, Any] = {"name": (Literal[spec.name], Field(description=spec.summary)), **parameters}
    title = spec.name.title().replace("_", "") + suffix
    return create_model(title, __base__=base, __doc__=f"{spec.summary} {spec.formula}", **fields)


def one_of(models: dict[str, type[Any]]) -> Any:
    """Any of these, told apart by `name`."""
    return Annotated[reduce(or_, models.values()), Field(discriminator="name")]


LOSS_MODELS: dict[str, type[LossEntry]] = loss_models(LossEntry)


AnyLoss: Any = one_of(LOSS_MODELS)


class LossRequest(TensorRequest):
    """Body of POST /loss."""

    returns: list[LossReturn] = Field(["loss"], alias="return", min_length=1, description="What to answer.")
    losses: list[AnyLoss] | None = Field(
        None, min_length=1, description="Default: cross_entropy if `probability` is given, else entropy."
    )
    probability: Tensor | None = Field(
        None, description="The article's Probability, for every cross_entropy that brings no target of its own."
    )
    reduction: Literal["none", "mean", "sum"] = Field("mean", description="Over all valid queries of the request.")


class Top(Model):
    """The strongest keys of each query, descending, ties to the lower index; index −1 where there are fewer."""

    index: Tensor
    weight: Tensor


class Statistics(Model):
    """What was asked of: output, weights and the statistics of the weights."""

    output: Tensor | None = Field(None, description="Σ_j weight_ij · value_j, in the query's rank.")
    weights: Tensor | None = Field(None, description="softmax of the scores; rows sum to 1.")
    lse: Lse | None = Field(None, description="log-sum-exp of the scores; null for a fully masked query.")
    entropy: Tensor | None = Field(None, description="Entropy of each query's weights in nats.")
    max: Tensor | None = Field(None, description="Largest weight of each query.")
    received: Tensor | None = Field(None, description="Attention that each key receives, summed over valid queries.")
    top: Top | None = None
    backend: str = Field(description="What computed it: native, flash, chunked or gram.", examples=["flash"])
    device: str = Field(description="Where.", examples=["cpu"])
    autocast: str | None = Field(
        None, description="The dtype that the server computed a request for float32 in, if it is set to."
    )


class AttentionAnswer(Statistics):
    """Answer of POST /attention; holds only what was asked."""


class Gradients(Model):
    """Gradients of `loss`, in the shapes of the inputs; value only if value was given."""

    query: Tensor
    key: Tensor
    value: Tensor | None = None


class LossAnswer(Statistics):
    """Answer of POST /loss; holds only what was asked."""

    loss: float | None = Field(None, description="Σ weight × reduced loss.")
    losses: dict[str, Any] | None = Field(None, description="Each reduced loss, unweighted, by label or name.")
    per_query: dict[str, Tensor] | None = Field(
        None, description="Each loss of each query, 0 where invalid; of each head or batch entry where it has no more."
    )
    grad: Gradients | None = None


class Base64Tensor(Model):
    """A tensor as base64 of its little-endian, row-major bytes."""

    shape: list[int] = Field(examples=[[1, 10, 768]])
    dtype: Literal["float32", "float64", "float16", "bfloat16", "int64", "int32", "bool"]
    base64: str


class FieldError(Model):
    """One wrong field."""

    field: str = Field(examples=["query[0][3]"])
    message: str = Field(examples=["ragged: expected 4 elements as in query[0][0], came 3"])


class Problem(Model):
    """An error, as application/problem+json (RFC 9457)."""

    type: str = Field(examples=["urn:attnloss:problem:invalid"])
    title: str = Field(examples=["Invalid request"])
    status: int = Field(examples=[422])
    detail: str = Field(examples=["query[0][3]: ragged: expected 4 elements as in query[0][0], came 3"])
    request_id: str
    errors: list[FieldError] = Field(default_factory=list)
