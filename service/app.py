"""The HTTP side as a function of its settings: `uvicorn service.app:app` serves it and starts its own worker."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import zmq
from fastapi import FastAPI

import attnloss
from service.admission import Admission
from service.devices import worker_devices
from service.dispatch import Dispatch
from service.envelope import Envelope, add_error_handlers
from service.keys import ApiKeys
from service.ledger import Ledger
from service.link import Link
from service.logs import configure_logs
from service.openapi import add_openapi
from service.ownership import Ownership, group_name, on_sigterm
from service.pulse import Pulse
from service.routes import attention, health, loss, openai, page, registry, v2
from service.rundir import RunDirectory
from service.settings import Settings
from service.state import ServiceState
from service.traces import check_traces, traces_of


def create_app(settings: Settings | None = None, *, directory: RunDirectory | None = None) -> Envelope:
    """The application.

    Args:
        settings: read from the environment if None.
        directory: of a worker that somebody else keeps; if None the app makes its own and keeps the worker.

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
        if directory is not None:
            async with serving(settings, directory) as state:
                app.state.service = envelope.state = state
                yield
            return
        own = RunDirectory.open(settings.run_directory, group_name())
        ownership = Ownership(own, settings)
        try:
            async with serving(settings, own) as state:
                app.state.service = envelope.state = state
                from service.metrics.parent import ParentMetrics  # imported late: see serving

                ownership.start(ParentMetrics().restarted)
                yield
            await ownership.close()
        finally:
            own.close()

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


@asynccontextmanager
async def serving(settings: Settings, directory: RunDirectory) -> AsyncIterator[ServiceState]:
    """The state that routes share, while the process serves."""
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory.metrics)
    from service.metrics.api import ApiMetrics  # reads the variable when it is imported

    metrics = ApiMetrics()
    traces = traces_of(settings)
    context: zmq.Context[Any] = zmq.Context()
    workers = [directory.worker(index) for index in range(len(worker_devices(settings.device)))]
    ledger, identity = Ledger(directory.ledger, len(workers)), os.urandom(8)
    links = [Link(context, files.address, files.given_up, identity, metrics.resubmitted) for files in workers]
    pulses = [Pulse(files.pulse) for files in workers]
    dispatch = Dispatch(links, pulses, ledger)
    admission = Admission(
        ledger,
        settings.max_queue_jobs,
        settings.max_pending_bytes,
        dispatch.wait_s,
        dispatch.drain_s,
    )
    state = ServiceState(settings, dispatch, admission, metrics, str(directory.metrics), traces)
    if threading.current_thread() is threading.main_thread():
        on_sigterm(lambda: setattr(state, "draining", True))
    dispatch.start()
    directory.up(os.getpid()).touch()
    try:
        yield state
    finally:
        await dispatch.close()
        context.term()
        ledger.close()
        for pulse in pulses:
            pulse.close()
        if traces is not None:
            await asyncio.to_thread(traces.close)


def __getattr__(name: str) -> Any:
    """`service.app:app`, made when a server asks for it and not when the module is imported."""
    if name == "app":
        return create_app()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
