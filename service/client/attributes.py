"""From the fields of an answer to the attributes of a result."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from service.client.errors import BadAnswer
from service.client.retry import Answer

T = TypeVar("T")


def statistics(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of AttentionResult from the fields of an answer."""
    found = {name: fields.get(name) for name in ("output", "weights", "lse", "entropy", "max", "received")}
    return found | {f"top_{part}": array for part, array in (fields.get("top") or {}).items()}


def common(answer: Answer, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes that every result has."""
    timing = {}
    for stage in answer.headers.get("server-timing", "").split(","):
        name, _, spent_ms = stage.strip().partition(";dur=")
        if spent_ms:
            timing[name] = float(spent_ms) / 1e3
    return {
        "backend": fields.get("backend"),
        "device": fields["device"],
        "request_id": answer.headers.get("x-request-id"),
        "timing": timing,
    }


def built(answer: Answer, build: Callable[[], T]) -> T:
    """What is made of an answer. Raises BadAnswer if it is not the service's."""
    try:
        return build()
    except (ValueError, KeyError, TypeError, AttributeError, StopIteration, IndexError) as error:
        kind = answer.headers.get("content-type", "no content type")
        raise BadAnswer(f"the answer ({kind}, {len(answer.content)} bytes) is not this service's: {error!r}") from error
