"""An ingress replica: the HTTP application of `attnloss serve`, whose jobs go to worker replicas."""

import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from ray import serve
from ray.serve.handle import DeploymentHandle
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.admission import Admission
from service.app import create_app
from service.ledger import Ledger
from service.ray.dispatch import RayDispatch
from service.serving import observed
from service.settings import Settings
from service.state import ServiceState


@serve.ingress()
class IngressReplica:
    """Decodes, sends the job to a worker replica, encodes. Imports no torch.

    Args:
        settings: of the service, as JSON has them.
        workers: the handle of the worker deployment.

    """

    def __init__(self, settings: dict[str, Any], workers: DeploymentHandle[Any]) -> None:
        self._settings = Settings.model_validate(settings)
        self._workers = workers

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """The application, which Ray Serve then starts."""
        return BehindProxy(create_app(self._settings, serving=self._serving))

    @asynccontextmanager
    async def _serving(self, settings: Settings) -> AsyncIterator[ServiceState]:
        """The state that routes share, while the replica serves."""
        with tempfile.TemporaryDirectory(prefix="attnloss-metrics-", dir=settings.run_directory) as directory:
            async with observed(settings, Path(directory)) as (metrics, traces):
                ledger = Ledger()
                dispatch = RayDispatch(self._workers, metrics.resubmitted)
                admission = Admission(ledger, settings.max_queue_jobs, settings.max_pending_bytes)
                await dispatch.start()
                try:
                    yield ServiceState(settings, dispatch, admission, metrics, directory, traces)
                finally:
                    await dispatch.close()
                    ledger.close()


class BehindProxy:
    """The application as Ray Serve's proxy wants it: messages hold bytes, and the proxy adds the request's id."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = [value for name, value in scope["headers"] if name == b"x-request-id"]

        async def receive_and_note() -> Message:
            message = await receive()
            scope["body_came_s"] = time.monotonic()
            return message

        async def send_bytes(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = [(b"x-request-id", request_id) for request_id in given]
                headers = [header for header in message["headers"] if header not in added]
                message = {**message, "headers": headers}
            elif isinstance(message.get("body"), memoryview):
                message = {**message, "body": bytes(message["body"])}
            await send(message)

        await self._app(scope, receive_and_note, send_bytes)
