"""Around every request: who may ask, the limit of its headers, errors in the words of its path, what is told of it."""

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable, Mapping

import orjson
import structlog
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from service.dialects import error_document
from service.errors import HeadersTooLarge, MethodNotAllowed, NotFound, ServiceError, Unauthorized, Unavailable
from service.keys import PROBES, ApiKeys
from service.passage import CLIENT_CLOSED, Passage
from service.settings import Settings
from service.state import ServiceState

_DRAIN_WITHIN_S = 2.0
_WHILE_DRAINING = (*PROBES, "/metrics")
"""Answered to the last: the counts of the last seconds are wanted too."""

CLIENT_CLOSED_REQUEST = 499
"""Counted for a client that went away; no client sees it."""

log = structlog.get_logger()


Handler = Callable[[Request, ServiceState], Awaitable[Response]]


class Envelope:
    """ASGI application around the whole service; see the module.

    Args:
        app: answers what `handlers` do not.
        settings: of the service.
        keys: of those who may ask.
        handlers: for POST to these paths, called without the router: they carry the load.

    """

    def __init__(self, app: ASGIApp, settings: Settings, keys: ApiKeys, handlers: Mapping[str, Handler]) -> None:
        self.app = app
        self.state: ServiceState | None = None
        self._settings = settings
        self._keys = keys
        self._handlers = handlers
        self._entry: ASGIApp = self._serve
        if origins := [origin.strip() for origin in settings.cors_origins.split(",") if origin.strip()]:
            self._entry = _with_cors(self._serve, origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        await (self._entry if scope["type"] == "http" else self.app)(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        state = self.state
        assert state is not None, "requests come after the lifespan has started"
        passage = Passage(scope, receive, send, lambda: state.draining and scope["path"] not in _WHILE_DRAINING)
        if state.traces is not None:
            passage.trace = state.traces.request(scope)
        try:
            await self._answer(scope, state, passage)
        except ClientDisconnect:
            passage.status = passage.status or CLIENT_CLOSED_REQUEST
            passage.reason = CLIENT_CLOSED
        except asyncio.CancelledError:  # the time to drain is over
            error = Unavailable("The server has shut down before the request was complete.", retry_after_s=1)
            await _refuse(error, scope, passage)
        except ServiceError as refused:
            await _refuse(refused, scope, passage)
        except Exception:
            log.exception("request failed", request_id=passage.request_id, path=scope["path"])
            await _refuse(ServiceError("Something went wrong; the cause is in the server's log."), scope, passage)
        if passage.trace is not None:
            passage.trace.end(passage)
        state.metrics.answered(passage)
        self._tell(passage)

    async def _answer(self, scope: Scope, state: ServiceState, passage: Passage) -> None:
        path = scope["path"]
        handler = self._handlers.get(path)
        passage.route = "none" if handler is None else path
        self._check(scope, passage)
        if handler is None or scope["method"] != "POST":
            await self.app(scope, passage.receive, passage.send)
            passage.route = getattr(scope.get("route"), "path", "none")
        else:
            response = await handler(Request(scope, passage.receive), state)
            await response(scope, passage.receive, passage.send)

    def _check(self, scope: Scope, passage: Passage) -> None:
        size = sum(len(name) + len(value) + 4 for name, value in scope["headers"])
        if size > self._settings.max_header_bytes:
            raise HeadersTooLarge(f"The headers take {size} bytes, the limit is {self._settings.max_header_bytes}.")
        self._keys.check(scope["path"], scope["headers"])
        if passage.closes():
            raise Unavailable("The server is shutting down.", retry_after_s=1)

    def _tell(self, passage: Passage) -> None:
        wanted = self._settings.log_requests
        failed = passage.status >= 500 and passage.path not in PROBES  # which say 503 all the while a model loads
        if wanted == "all" or (wanted == "failures" and failed):
            tell = log.warning if passage.status >= 500 else log.info
            tell(
                "request",
                request_id=passage.request_id,
                method=passage.method,
                route=passage.route,
                status=passage.status,
                **({} if passage.reason is None else {"reason": passage.reason}),
                seconds=round(passage.seconds, 6),
                body_bytes=passage.body_bytes,
                answer_bytes=passage.answer_bytes,
            )


def _with_cors(app: ASGIApp, origins: list[str]) -> ASGIApp:
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=["GET", "POST"],
        allow_headers=["*"],
        expose_headers=["X-Request-ID", "Server-Timing", "Retry-After", "Inference-Header-Content-Length"],
    )


async def _refuse(error: ServiceError, scope: Scope, passage: Passage) -> None:
    """Answer with the problem, unless an answer has begun.

    A body that was not read is read and forgotten for a moment, then the connection ends. The answer goes out first;
    a client that is still sending gets to read it instead of a reset connection.
    """
    passage.reason = error.slug
    if passage.status:
        return
    unread = scope["method"] == "POST" and not scope.get("body_read", False)
    closes = unread or isinstance(error, (Unavailable, HeadersTooLarge))
    response = error_response(scope["path"], error, passage.request_id, {"connection": "close"} if closes else {})
    await passage.send({"type": "http.response.start", "status": error.status, "headers": response.raw_headers})
    await passage.send({"type": "http.response.body", "body": response.body, "more_body": unread})
    if unread:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_WITHIN_S):
                more = _body_is_on_its_way(scope)
                while more:
                    message = await passage.receive()
                    more = message["type"] == "http.request" and message.get("more_body", False)
        await passage.send({"type": "http.response.body", "body": b""})


def _body_is_on_its_way(scope: Scope) -> bool:
    """False for a client that expects 100 Continue: it has not sent the body."""
    return not any(name == b"expect" for name, _ in scope["headers"])


def error_response(path: str, error: ServiceError, request_id: str, headers: Mapping[str, str]) -> Response:
    """The error as a response, as the clients of the path read it."""
    own = dict(headers)
    if error.retry_after_s is not None:
        own["retry-after"] = str(max(1, math.ceil(error.retry_after_s)))
    if isinstance(error, Unauthorized):
        own["www-authenticate"] = 'Bearer realm="attnloss"'
    document, media_type = error_document(path, error, request_id)
    return Response(orjson.dumps(document), error.status, own, media_type=media_type)


def add_error_handlers(app: FastAPI) -> None:
    """404 and 405 of the router in the words of their path."""

    async def handle(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        known: dict[int, ServiceError] = {
            404: NotFound(f"There is no {request.url.path}; see /docs."),
            405: MethodNotAllowed(f"{request.url.path} does not take {request.method}."),
        }
        problem = known.get(error.status_code) or ServiceError(str(error.detail))
        return _refusal(request, problem, error.headers or {})

    async def refuse(request: Request, error: Exception) -> Response:
        assert isinstance(error, ServiceError)
        closes = {"connection": "close"} if request.method == "POST" else {}  # the body has not been read
        return _refusal(request, error, closes)

    app.add_exception_handler(HTTPException, handle)
    app.add_exception_handler(ServiceError, refuse)


def _refusal(request: Request, error: ServiceError, headers: Mapping[str, str]) -> Response:
    passage: Passage = request.scope["passage"]
    passage.reason = error.slug
    return error_response(request.url.path, error, passage.request_id, headers)
