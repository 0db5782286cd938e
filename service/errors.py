"""The error tree of the service.

    ServiceError
    ├── NotHttp            400  what came is not a request
    ├── NotJson            400  the body is not JSON, or its framing is broken
    ├── Unauthorized       401  API keys are configured, and none came that is known
    ├── NotFound           404  no such path or model
    ├── MethodNotAllowed   405
    ├── BodyTooSlow        408  the body did not arrive in time
    ├── HeadersTooSlow     408  the headers did not
    ├── TooLarge           413  body, cost or answer over its limit
    ├── NotUnderstood      415  content type or encoding
    ├── Invalid            422  fields, shapes, ranges; names the field and the index
    ├── Overloaded         429  no room; Retry-After
    ├── HeadersTooLarge    431
    ├── ComputeFailed      500  the computation failed; the cause is in the log
    ├── Unavailable        503  starting, draining, or no worker comes up; Retry-After
    ├── TooManyConnections 503  Retry-After
    └── DeadlinePassed     504

Every one becomes an `application/problem+json` document (RFC 9457). Nothing here knows HTTP libraries: the worker
raises the same errors, and the link carries them as `to_wire` makes them.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self


def path_of(path: str, *index: int) -> str:
    """`query`, 0, 3 → `query[0][3]`."""
    return path + "".join(f"[{i}]" for i in index)


@dataclass(frozen=True)
class FieldProblem:
    """What is wrong with one field: its path, as in `losses[0].target[2]`, and a sentence."""

    field: str
    message: str


class ServiceError(Exception):
    """An answer other than 200: `status`, a short `title`, and `detail` for a person."""

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"
    slug: ClassVar[str] = "internal"

    def __init__(self, detail: str, *, errors: Sequence[FieldProblem] = (), retry_after_s: float | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = tuple(errors)
        self.retry_after_s = retry_after_s

    def to_problem(self, request_id: str) -> dict[str, Any]:
        """The problem document of RFC 9457 for this error."""
        document: dict[str, Any] = {
            "type": f"urn:attnloss:problem:{self.slug}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "request_id": request_id,
        }
        if self.errors:
            document["errors"] = [asdict(problem) for problem in self.errors]
        return document

    def to_wire(self) -> dict[str, Any]:
        """What the link carries of this error."""
        return {
            "slug": self.slug,
            "detail": self.detail,
            "errors": [asdict(problem) for problem in self.errors],
            "retry_after_s": self.retry_after_s,
        }

    @staticmethod
    def from_wire(wire: dict[str, Any]) -> "ServiceError":
        """The error that `to_wire` described."""
        kind = _BY_SLUG.get(wire["slug"], ServiceError)
        errors = [FieldProblem(**problem) for problem in wire["errors"]]
        return kind(wire["detail"], errors=errors, retry_after_s=wire["retry_after_s"])


class NotHttp(ServiceError):
    """What came on a connection is no request of HTTP/1.1."""

    status, title, slug = 400, "Not HTTP", "not-http"


class NotJson(ServiceError):
    """The body is not JSON: broken syntax, NaN or Infinity, numbers beyond double, nesting too deep."""

    status, title, slug = 400, "Body is not JSON", "not-json"


class Unauthorized(ServiceError):
    """API keys are configured, and the request carries none of them."""

    status, title, slug = 401, "Unauthorized", "unauthorized"


class NotFound(ServiceError):
    """No such path."""

    status, title, slug = 404, "Not found", "not-found"


class MethodNotAllowed(ServiceError):
    """The path exists and does not take this method."""

    status, title, slug = 405, "Method not allowed", "method-not-allowed"


class BodyTooSlow(ServiceError):
    """The request body did not arrive in time."""

    status, title, slug = 408, "Request body came too slowly", "body-too-slow"


class HeadersTooSlow(ServiceError):
    """The request headers did not arrive in time."""

    status, title, slug = 408, "Request headers came too slowly", "headers-too-slow"


class TooLarge(ServiceError):
    """Body, cost or answer over its limit; the detail says the limit, the size and what to ask for instead."""

    status, title, slug = 413, "Too large", "too-large"


class NotUnderstood(ServiceError):
    """Content type or encoding that the service does not read."""

    status, title, slug = 415, "Unsupported media type", "not-understood"


class Invalid(ServiceError):
    """The body is JSON and its fields are wrong; `errors` names each field."""

    status, title, slug = 422, "Invalid request", "invalid"

    @classmethod
    def field(cls, field: str, message: str) -> Self:
        """One field is wrong."""
        return cls(f"{field}: {message}" if field else message, errors=[FieldProblem(field, message)])


class Overloaded(ServiceError):
    """No room for the request now."""

    status, title, slug = 429, "Overloaded", "overloaded"


class HeadersTooLarge(ServiceError):
    """The request headers are over their limit."""

    status, title, slug = 431, "Request headers too large", "headers-too-large"


class ComputeFailed(ServiceError):
    """The computation failed; the cause is in the log only."""

    status, title, slug = 500, "Computation failed", "compute-failed"


class Unavailable(ServiceError):
    """Starting, draining, or no worker comes up."""

    status, title, slug = 503, "Service unavailable", "unavailable"


class TooManyConnections(ServiceError):
    """More connections than the server keeps open."""

    status, title, slug = 503, "Too many connections", "too-many-connections"


class DeadlinePassed(ServiceError):
    """The request was not answered before its deadline."""

    status, title, slug = 504, "Deadline passed", "deadline-passed"


_BY_SLUG: dict[str, type[ServiceError]] = {kind.slug: kind for kind in ServiceError.__subclasses__()}
