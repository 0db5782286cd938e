"""What Ray Serve's proxies do before they hand a request on, if they are told to.

They are told by `RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH=service.ray.proxy:middlewares` in the environment of every
node.
"""

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from service.passage import is_request_id


def middlewares() -> list[Middleware]:
    """What the proxies wrap around their application."""
    return [Middleware(OnlyRequestIds)]


class OnlyRequestIds:
    """Forgets an X-Request-ID of other signs than the service echoes: the proxy then makes one of its own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on."""
        if "headers" in scope:
            scope["headers"] = [
                (name, value)
                for name, value in scope["headers"]
                if name != b"x-request-id" or is_request_id(value.decode("latin-1"))
            ]
        await self._app(scope, receive, send)
