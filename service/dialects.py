"""The words in which a path's clients expect errors: problem documents, the Open Inference Protocol's, OpenAI's."""

from typing import Any

from service.errors import ServiceError

PROBLEM_TYPE = "application/problem+json"

_OPENAI_PATHS = ("/tokenize", "/detokenize", "/tokenizer_info")
_OPENAI_TYPES = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}


def error_document(path: str, error: ServiceError, request_id: str) -> tuple[dict[str, Any], str]:
    """The error as the clients of a path read it, and its media type."""
    if path.startswith("/v2/") or path == "/v2":
        return {"error": error.detail}, "application/json"
    if path.startswith("/v1/") or path in _OPENAI_PATHS:
        return {"error": _openai(error)}, "application/json"
    return error.to_problem(request_id), PROBLEM_TYPE


def _openai(error: ServiceError) -> dict[str, Any]:
    kind = "server_error" if error.status >= 500 else _OPENAI_TYPES.get(error.status, "invalid_request_error")
    param = error.errors[0].field if error.errors else None
    return {"message": error.detail, "type": kind, "param": param or None, "code": error.slug}
