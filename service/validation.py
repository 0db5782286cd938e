"""Fields against a pydantic model, with problems that name their place in the body."""

from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import ValidationError

from service.errors import FieldProblem, Invalid
from service.schemas import LOSS_MODELS, Model

RequestModel = TypeVar("RequestModel", bound=Model)

_MOST_PROBLEMS = 20
"""Wrong fields that one answer names."""


def validated(model: type[RequestModel], fields: dict[str, Any]) -> RequestModel:
    """The fields as the model has them. Raises Invalid that names every wrong field, up to some."""
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        told = error.errors(include_url=False)[:_MOST_PROBLEMS]
        problems = [FieldProblem(_place(item["loc"], fields), _message(item)) for item in told]
        first = problems[0]
        raise Invalid(f"{first.field}: {first.message}", errors=problems) from None


def _place(loc: Sequence[int | str], fields: dict[str, Any]) -> str:
    """The path, where a text stands for a list of one."""
    return str(loc[0]) if len(loc) == 2 and isinstance(fields.get(str(loc[0])), str) else _path(loc)


def _path(loc: Sequence[int | str]) -> str:
    """`("losses", 0, "cross_entropy", "eps")` → `losses[0].eps`; tags of unions are no part of the body."""
    path = ""
    for i, part in enumerate(loc):
        if isinstance(part, int):
            path += f"[{part}]"
        elif not ((part in LOSS_MODELS and i == 2) or "[" in part):
            path += f".{part}" if path else part
    return path


def _message(item: Any) -> str:
    messages = {"extra_forbidden": "unknown field", "missing": "this field is needed"}
    return messages.get(item["type"]) or str(item["msg"])
