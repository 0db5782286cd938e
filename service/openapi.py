"""The OpenAPI document: request bodies that FastAPI does not parse, shown from the models that validate them."""

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from service.dialects import PROBLEM_TYPE
from service.intake import LEAST_TIMEOUT_S
from service.keys import OPEN_PATHS
from service.oip.schemas import AttentionInferRequest, InferResponse, LossInferRequest, V2Error
from service.openai.schemas import SCHEMAS as OPENAI_SCHEMAS
from service.schemas import AttentionAnswer, AttentionRequest, Base64Tensor, LossAnswer, LossRequest, Problem
from service.text.schemas import TextAnswer, TextAttentionRequest, TextLossRequest

_TIMEOUT = {
    "name": "X-Request-Timeout",
    "in": "header",
    "required": False,
    "description": "Seconds in which the request must be answered; at most the server's own deadline.",
    "schema": {"type": "number", "minimum": LEAST_TIMEOUT_S},
    "example": 2.5,
}

INFER_EXAMPLES = {
    "json": {
        "inputs": [
            {"name": "QUERY", "shape": [2, 2], "datatype": "FP32", "data": [1.0, 0.0, 0.0, 1.0]},
            {"name": "KEY", "shape": [2, 2], "datatype": "FP32", "data": [1.0, 0.0, 0.0, 1.0]},
        ],
        "outputs": [{"name": "ENTROPY"}],
    }
}
INFER_ANSWERS = {
    "json": {
        "model_name": "attention",
        "model_version": "1",
        "parameters": {"backend": "native", "device": "cpu"},
        "outputs": [{"name": "ENTROPY", "datatype": "FP32", "shape": [2], "data": [0.6343474, 0.6343474]}],
    }
}

_REF = "#/components/schemas/{model}"
_PROBLEMS = {
    400: "The body is not JSON.",
    401: "API keys are configured, and `Authorization: Bearer KEY` matches none.",
    404: "No such model.",
    408: "The body came too slowly, or stalled while others waited for its place.",
    413: "Body, cost or answer over its limit.",
    415: "Content type or encoding not understood.",
    422: "A field is wrong; names the field and the index.",
    429: "No room, or the deadline would be missed; see Retry-After.",
    431: "Headers too large.",
    500: "The computation failed.",
    503: "Starting, draining, or no worker.",
    504: "The deadline passed.",
}


def described(
    bodies: Sequence[type[BaseModel]],
    answers: Sequence[type[BaseModel]],
    examples: dict[str, Any],
    answered_examples: dict[str, Any],
    *,
    refusal: type[BaseModel] = Problem,
    refusal_media_type: str = PROBLEM_TYPE,
) -> dict[str, Any]:
    """Keyword arguments of a route that reads its body itself; each body has its answer."""
    problem = {refusal_media_type: {"schema": {"$ref": _REF.format(model=refusal.__name__)}}}
    content = {"application/json": _any_of(bodies, examples)}
    answered = {"application/json": _any_of(answers, answered_examples)}
    responses: dict[int, Any] = {200: {"description": "What was asked.", "content": answered}}
    responses |= {status: {"description": text, "content": problem} for status, text in _PROBLEMS.items()}
    return {
        "responses": responses,
        "openapi_extra": {"parameters": [_TIMEOUT], "requestBody": {"required": True, "content": content}},
    }


def described_infer() -> dict[str, Any]:
    """Keyword arguments of the routes of the Open Inference Protocol, whose errors have words of their own."""
    bodies = [AttentionInferRequest, LossInferRequest]
    told = described(
        bodies,
        [InferResponse],
        INFER_EXAMPLES,
        INFER_ANSWERS,
        refusal=V2Error,
        refusal_media_type="application/json",
    )
    name = "Inference-Header-Content-Length"
    length = {"description": "Bytes of the JSON header, if tensors lie behind it.", "schema": {"type": "integer"}}
    told["responses"][200]["headers"] = {name: {**length, "required": False}}
    told["openapi_extra"]["parameters"].append({"name": name, "in": "header", "required": False, **length})
    for side in (told["responses"][200], told["openapi_extra"]["requestBody"]):
        side["content"]["application/octet-stream"] = {"schema": {"type": "string", "format": "binary"}}
    return told


def _any_of(models: Sequence[type[BaseModel]], examples: dict[str, Any]) -> dict[str, Any]:
    schema = {"anyOf": [{"$ref": _REF.format(model=model.__name__)} for model in models]}
    return {"schema": schema, "examples": {name: {"value": value} for name, value in examples.items()}}


def add_openapi(app: FastAPI) -> None:
    """Let the app's document hold the schemas that `described` names."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(title=app.title, version=app.version, routes=app.routes, description=app.description)
            models: tuple[type[BaseModel], ...] = (
                AttentionRequest,
                AttentionAnswer,
                LossRequest,
                LossAnswer,
                Problem,
                Base64Tensor,
            )
            models += (TextAttentionRequest, TextLossRequest, TextAnswer)
            models += (AttentionInferRequest, LossInferRequest, InferResponse, V2Error, *OPENAI_SCHEMAS)
            _, schemas = models_json_schema([(model, "validation") for model in models], ref_template=_REF)
            made.setdefault("components", {}).setdefault("schemas", {}).update(schemas["$defs"])
            made["components"]["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
            made["security"] = [{}, {"bearer": []}]  # a key is needed where keys are configured
            for path, methods in made["paths"].items():
                for method in methods.values() if path in OPEN_PATHS else ():
                    method["security"] = []
            app.openapi_schema = made
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # the way FastAPI documents
