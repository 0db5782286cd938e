"""Around every request: its id, the limit of its headers, and every error in the words that a path's clients expect."""

import asyncio
import contextlib
import math
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping

import orjson
import structlog
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.dialects import error_document
from service.errors import HeadersTooLarge, MethodNotAllowed, NotFound, ServiceError, Unavailable
from service.settings import Settings
from service.state import ServiceState

_REQUEST_ID = re.compile(r"[\w.-]{1,128}", re.ASCII)
_DRAIN_WITHIN_S = 2.0
_PROBES = ("/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready")
_CLOSE = (b"connection", b"close")

CLIENT_CLOSED_REQUEST = 499
"""Counted for a client that went away; no client sees it."""

log = structlog.get_logger()


Handler = Callable[[Request, ServiceState], Awaitable[Response]]


class Envelope:
    """ASGI application around the whole service; see the module.

    Args:
        app: answers what `handlers` do not.
        settings: of the service.
        handlers: for POST to these paths, called without the router: they carry the load.

    """

    def __init__(self, app: ASGIApp, settings: Settings, handlers: Mapping[str, Handler]) -> None:
        self.app = app
        self.state: ServiceState | None = None
        self._settings = settings
        self._handlers = handlers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        assert self.state is not None, "requests come after the lifespan has started"
        request_id = _request_id(scope)
        scope["request_id"] = request_id
        status = 0
        began_s = time.monotonic()

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = [(b"x-request-id", request_id.encode())]
                if not any(name == b"server-timing" for name, _ in message["headers"]):
                    own.append((b"server-timing", b"total;dur=%.3f" % (1e3 * (time.monotonic() - began_s))))
                if self.state is not None and self.state.draining and scope["path"] not in _PROBES:
                    own += [] if any(name == b"connection" for name, _ in message["headers"]) else [_CLOSE]
                message["headers"] = [*message["headers"], *own]
            await send(message)

        route = scope["path"] if scope["path"] in self._handlers else "none"
        try:
            self._check(scope, self.state)
            handler = self._handlers.get(scope["path"]) if scope["method"] == "POST" else None
            if handler is None:
                await self.app(scope, receive, send_with_id)
                route = getattr(scope.get("route"), "path", "none")
            else:
                response = await handler(Request(scope, receive), self.state)
                await response(scope, receive, send_with_id)
        except ClientDisconnect:
            status = status or CLIENT_CLOSED_REQUEST
        except asyncio.CancelledError:  # the time to drain is over
            if status == 0:
                error = Unavailable("The server has shut down before the request was complete.", retry_after_s=1)
                await _refuse(error, request_id, scope, receive, send_with_id)
        except ServiceError as refused:
            if status == 0:
                await _refuse(refused, request_id, scope, receive, send_with_id)
        except Exception:
            log.exception("request failed", request_id=request_id, path=scope["path"])
            if status == 0:
                unknown = ServiceError("Something went wrong; the cause is in the server's log.")
                await _refuse(unknown, request_id, scope, receive, send_with_id)
        self.state.metrics.answered(route, status)
        log.debug("request", request_id=request_id, method=scope["method"], path=scope["path"], status=status)

    def _check(self, scope: Scope, state: ServiceState) -> None:
        size = sum(len(name) + len(value) + 4 for name, value in scope["headers"])
        if size > self._settings.max_header_bytes:
            raise HeadersTooLarge(f"The headers take {size} bytes, the limit is {self._settings.max_header_bytes}.")
        if state.draining and scope["path"] not in _PROBES:
            raise Unavailable("The server is shutting down.", retry_after_s=1)


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            given = value.decode("latin-1")
            if _REQUEST_ID.fullmatch(given):
                return str(given)
    return uuid.uuid4().hex


async def _refuse(error: ServiceError, request_id: str, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the problem. A body that was not read is read and forgotten for a moment, then the connection ends.

    The answer goes out first; a client that is still sending gets to read it instead of a reset connection.
    """
    unread = scope["method"] == "POST" and not scope.get("body_read", False)
    closes = unread or isinstance(error, (Unavailable, HeadersTooLarge))
    response = error_response(scope["path"], error, request_id, {"connection": "close"} if closes else {})
    await send({"type": "http.response.start", "status": error.status, "headers": response.raw_headers})
    await send({"type": "http.response.body", "body": response.body, "more_body": unread})
    if unread:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_WITHIN_S):
                more = _body_is_on_its_way(scope)
                while more:
                    message = await receive()
                    more = message["type"] == "http.request" and message.get("more_body", False)
        await send({"type": "http.response.body", "body": b""})


def _body_is_on_its_way(scope: Scope) -> bool:
    """False for a client that expects 100 Continue: it has not sent the body."""
    return not any(name == b"expect" for name, _ in scope["headers"])


def error_response(path: str, error: ServiceError, request_id: str, headers: Mapping[str, str]) -> Response:
    """The error as a response, as the clients of the path read it."""
    own = dict(headers)
    if error.retry_after_s is not None:
        own["retry-after"] = str(max(1, math.ceil(error.retry_after_s)))
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
        return error_response(request.url.path, problem, request.scope["request_id"], error.headers or {})

    async def refuse(request: Request, error: Exception) -> Response:
        assert isinstance(error, ServiceError)
        closes = {"connection": "close"} if request.method == "POST" else {}  # the body has not been read
        return error_response(request.url.path, error, request.scope["request_id"], closes)

    app.add_exception_handler(HTTPException, handle)
    app.add_exception_handler(ServiceError, refuse)
