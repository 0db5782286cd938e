"""What /v2 takes and gives: pydantic models that validate the JSON header and that OpenAPI shows."""

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema

from service.codec import decode_json
from service.errors import NotJson, ServiceError
from service.oip.datatypes import DATATYPES
from service.schemas import TENSOR_FIELDS, Dtype, Model, Window

ModelName = Literal["attention", "loss"]
Datatype = Literal[
    "FP32", "FP64", "FP16", "BF16", "INT64", "INT32", "INT16", "INT8", "UINT32", "UINT16", "UINT8", "BOOL"
]

LONGEST_DIM = 1 << 63
MOST_DIMS = 8


def _from_text(value: Any) -> Any:
    """Parameters are strings, numbers and booleans by the protocol, so lists may come as JSON in a string."""
    if not isinstance(value, str):
        return value
    try:
        return decode_json(b'{"given":%b}' % value.encode(), TENSOR_FIELDS)["given"]
    except (NotJson, UnicodeEncodeError):
        raise ValueError("expected JSON in a string") from None
    except ServiceError as error:
        raise ValueError(str(error).removeprefix("given")) from None


def _data(value: Any) -> np.ndarray:
    if not isinstance(value, np.ndarray):
        raise ValueError("expected a flat or nested list")
    return value


Data = Annotated[np.ndarray, PlainValidator(_data), WithJsonSchema({"type": "array", "items": {}})]
Listed = Annotated[Window, BeforeValidator(_from_text)]
Dim = Annotated[int, Field(ge=1, le=LONGEST_DIM)]


class InputParameters(Model):
    """Of one input: set if it lies in the binary part."""

    binary_data_size: int | None = Field(None, ge=0, description="Bytes of the tensor behind the JSON header.")


class InferInput(Model):
    """One tensor: in `data`, or behind the JSON header, row-major and little-endian."""

    name: str = Field(description="QUERY, KEY, VALUE, MASK, KEY_LENGTHS, …: see GET /v2/models/{model}.")
    shape: list[Dim] = Field(max_length=MOST_DIMS)
    datatype: Datatype
    parameters: InputParameters = Field(default_factory=InputParameters)
    data: Data | None = Field(None, description="Flat or nested; not for BF16, which is binary only.")


class OutputParameters(Model):
    """Of one output: whether it is answered in the binary part."""

    binary_data: bool | None = Field(None, description="Overrides the request's `binary_data_output`.")


class InferRequestedOutput(Model):
    """An output that is asked for."""

    name: str
    parameters: OutputParameters = Field(default_factory=OutputParameters)


class InferParameters(Model):
    """What every client of the protocol may send; `timeout` counts microseconds, 0 is none."""

    binary_data_output: bool = Field(False, description="Whether outputs are answered in the binary part.")
    timeout: int | None = Field(None, ge=0, description="Microseconds in which the request must be answered.")
    priority: int | None = Field(None, ge=0, description="Known and without effect: jobs are taken in turn.")
    sequence_id: int | str | None = Field(None, description="Known and without effect: requests have no state.")
    sequence_start: bool | None = None
    sequence_end: bool | None = None


class AttentionParameters(InferParameters):
    """Options of the model attention, as the JSON API has them."""

    causal: bool = False
    scale: float | None = None
    dtype: Dtype = "float32"
    top_k: int | None = Field(None, ge=1, description="Keys of TOP_INDEX and TOP_WEIGHT.")
    queries: Listed | None = Field(None, description="[start, stop] of WEIGHTS; a list or JSON in a string.")
    keys: Listed | None = Field(None, description="[start, stop] of WEIGHTS; a list or JSON in a string.")


class LossParameters(AttentionParameters):
    """Options of the model loss, as the JSON API has them."""

    losses: Annotated[list[Any], Field(min_length=1), BeforeValidator(_from_text)] | None = Field(
        None, description="The list of losses as JSON in a string; arrays in it may come as TARGET and so on."
    )
    reduction: Literal["none", "mean", "sum"] = "mean"


class InferRequest(Model):
    """JSON header of POST /v2/models/{model}/infer."""

    id: str | None = Field(None, description="Echoed.")
    inputs: list[InferInput] = Field(min_length=1, max_length=32)
    outputs: list[InferRequestedOutput] | None = Field(
        None, description="Default: OUTPUT and WEIGHTS of attention, LOSS of loss."
    )
    parameters: AttentionParameters | LossParameters = Field(default_factory=AttentionParameters)


class AttentionInferRequest(InferRequest):
    """The header for the model attention."""

    parameters: AttentionParameters = Field(default_factory=AttentionParameters)


class LossInferRequest(InferRequest):
    """The header for the model loss."""

    parameters: LossParameters = Field(default_factory=LossParameters)


class InferOutput(Model):
    """One tensor of an answer: its `data`, flat, or `parameters.binary_data_size` bytes behind the JSON header."""

    name: str
    shape: list[int]
    datatype: Literal["FP32", "FP64", "INT64"]
    data: Data | None = Field(None, description="null stands for −inf, which LSE has for a fully masked query.")
    parameters: InputParameters | None = None


class InferResponse(Model):
    """JSON header of the answer."""

    model_name: ModelName
    model_version: str
    id: str | None = None
    parameters: dict[str, str] = Field(description="`backend` and `device` that computed it.")
    outputs: list[InferOutput]


class TensorMetadata(Model):
    """An input or output; −1 in its shape is any size, and leading dimensions may be left out."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(Model):
    """Answer of GET /v2/models/{model}."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class ServerMetadata(Model):
    """Answer of GET /v2."""

    name: str
    version: str
    extensions: list[str]


class V2Error(Model):
    """An error, as clients of the protocol read it."""

    error: str


assert set(DATATYPES) == set(Datatype.__args__)  # type: ignore[attr-defined]
