"""The OpenAPI document: request bodies that FastAPI does not parse, shown from the models that validate them."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from service.schemas import AttentionAnswer, AttentionRequest, Base64Tensor, LossAnswer, LossRequest, Problem

_REF = "#/components/schemas/{model}"
_PROBLEMS = {
    400: "The body is not JSON.",
    408: "The body came too slowly.",
    413: "Body, cost or answer over its limit.",
    415: "Content type or encoding not understood.",
    422: "A field is wrong; names the field and the index.",
    429: "No room; see Retry-After.",
    431: "Headers too large.",
    500: "The computation failed.",
    503: "Starting, draining, or no worker.",
    504: "The deadline passed.",
}


def described(
    body: type[BaseModel], answer: type[BaseModel], example: dict[str, Any], answered_example: dict[str, Any]
) -> dict[str, Any]:
    """Keyword arguments of a route that reads its body itself."""
    content = {"schema": {"$ref": _REF.format(model=body.__name__)}, "example": example}
    answered = {"schema": {"$ref": _REF.format(model=answer.__name__)}, "example": answered_example}
    problem = {"application/problem+json": {"schema": {"$ref": _REF.format(model=Problem.__name__)}}}
    responses: dict[int, Any] = {200: {"description": "What was asked.", "content": {"application/json": answered}}}
    responses |= {status: {"description": text, "content": problem} for status, text in _PROBLEMS.items()}
    return {
        "responses": responses,
        "openapi_extra": {"requestBody": {"required": True, "content": {"application/json": content}}},
    }


def add_openapi(app: FastAPI) -> None:
    """Let the app's document hold the schemas that `described` names."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(title=app.title, version=app.version, routes=app.routes, description=app.description)
            models = (AttentionRequest, AttentionAnswer, LossRequest, LossAnswer, Problem, Base64Tensor)
            _, schemas = models_json_schema([(model, "validation") for model in models], ref_template=_REF)
            made.setdefault("components", {}).setdefault("schemas", {}).update(schemas["$defs"])
            app.openapi_schema = made
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # the way FastAPI documents
