"""The HTTP side as a function of its settings: `uvicorn service.app:app` serves it and starts its own worker."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from fastapi import FastAPI

import attnloss
from service.envelope import Envelope, add_error_handlers
from service.keys import ApiKeys
from service.logs import configure_logs
from service.openapi import add_openapi
from service.routes import attention, health, loss, openai, page, registry, v2
from service.serving import serving_with_own_workers
from service.settings import Settings
from service.state import ServiceState
from service.traces import check_traces

Serving = Callable[[Settings], AbstractAsyncContextManager[ServiceState]]
"""What an application holds while it serves: made when it starts, given back when it ends."""


def create_app(settings: Settings | None = None, *, serving: Serving = serving_with_own_workers) -> Envelope:
    """The application.

    Args:
        settings: read from the environment if None.
        serving: where its jobs are computed; unless given, by workers that it keeps itself.

    Raises:
        OSError: the file of API keys cannot be read.
        ValueError: it holds none, or one that cannot be sent; or traces are wanted and cannot be made.

    """
    settings = settings or Settings()
    keys = ApiKeys.of(settings)
    check_traces(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        configure_logs(settings.log_level, settings.log_format)
        async with serving(settings) as state:
            app.state.service = envelope.state = state
            yield
        envelope.state = None

    app = FastAPI(
        title="attnloss",
        version=attnloss.__version__,
        description="Attention, its statistics and losses over its weights, of tensors and texts; token losses.",
        lifespan=lifespan,
        redirect_slashes=False,
        docs_url=None,  # served by routes.page, without a script from another host
        redoc_url=None,
    )
    posted = {"/attention": attention.answer_attention, "/loss": loss.answer_loss}
    envelope = Envelope(app, settings, keys, posted | v2.HANDLERS | openai.HANDLERS)
    add_error_handlers(app)
    for module in (attention, loss, v2, openai, registry, health, page):
        app.include_router(module.router)
    add_openapi(app)
    return envelope


def __getattr__(name: str) -> Any:
    """`service.app:app`, made when a server asks for it and not when the module is imported."""
    if name == "app":
        return create_app()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
