"""What the client raises.

AttnlossError
├── ApiError             the service answered with an error; `problem` has what it said
│   ├── InvalidRequest   400 413 415 422
│   ├── Unauthorized     401
│   ├── NotFound         404
│   ├── Overloaded       429
│   ├── ServerError      500
│   ├── Unavailable      503
│   └── DeadlineExceeded 504
├── BadAnswer            what answered is not this service
├── ConnectionFailed     no answer came
└── Timeout              `timeout_s` passed
"""

from collections.abc import Mapping
from typing import Any

import orjson


class AttnlossError(Exception):
    """Anything that the client raises but for arguments that cannot be sent, which are TypeError or ValueError."""


class ConnectionFailed(AttnlossError):
    """The server cannot be reached, or the connection broke before an answer came."""


class Timeout(AttnlossError):
    """No answer came within the client's `timeout_s`, retries included."""


class BadAnswer(AttnlossError):
    """The answer is not one of this service; some other server, or a proxy, has the address."""


class ApiError(AttnlossError):
    """The service answered with an error.

    Attributes:
        status: HTTP status.
        problem: the problem document (RFC 9457), or `status` and `detail` where the answer was none.
        request_id: the X-Request-ID under which the server logged it, or None.
        retry_after_s: seconds after which the server wants to be asked again, or None.

    """

    def __init__(
        self,
        status: int,
        problem: Mapping[str, Any],
        *,
        request_id: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        self.status = status
        self.problem = dict(problem)
        self.request_id = request_id
        self.retry_after_s = retry_after_s
        super().__init__(f"{status}: {self.detail}" + (f" (request {request_id})" if request_id else ""))

    @property
    def detail(self) -> str:
        """What is wrong, for a person."""
        return str(self.problem.get("detail") or self.problem.get("title") or "no detail")

    @property
    def errors(self) -> list[dict[str, str]]:
        """The wrong fields: `field`, as in `query[0][3]`, and `message`."""
        return list(self.problem.get("errors") or [])


class InvalidRequest(ApiError):
    """The request is wrong or too large (400, 413, 415, 422): it would be refused again."""


class Unauthorized(ApiError):
    """The server wants an API key, and this one is none of its own (401)."""


class NotFound(ApiError):
    """No such path or model (404)."""


class Overloaded(ApiError):
    """No room for the request, after all retries (429)."""


class ServerError(ApiError):
    """The computation failed (500)."""


class Unavailable(ApiError):
    """The server starts, drains or has no worker, after all retries (503)."""


class DeadlineExceeded(ApiError):
    """The server did not finish before the request's deadline (504)."""


_KINDS: dict[int, type[ApiError]] = {
    **dict.fromkeys((400, 413, 415, 422), InvalidRequest),
    401: Unauthorized,
    404: NotFound,
    429: Overloaded,
    500: ServerError,
    503: Unavailable,
    504: DeadlineExceeded,
}


def api_error(
    status: int, reason: str, content: bytes, *, request_id: str | None, retry_after_s: float | None
) -> ApiError:
    """The exception for an answer: a problem document, `{"error": ...}`, or the page of a proxy."""
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        document = {"status": status, "detail": reason or "an answer without a problem document"}
    elif "error" in document:
        document = {"status": status, "detail": str(document["error"])}
    request_id = request_id or document.get("request_id")
    return _KINDS.get(status, ApiError)(status, document, request_id=request_id, retry_after_s=retry_after_s)
