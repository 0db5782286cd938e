"""What an API process holds while it serves: links to workers that others keep, or to workers of its own."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import zmq

from service.admission import Admission
from service.devices import worker_devices
from service.dispatch import Dispatch
from service.ledger import Ledger
from service.link import Link
from service.ownership import Ownership, group_name, on_sigterm
from service.pulse import Pulse
from service.rundir import RunDirectory
from service.settings import Settings
from service.state import ServiceState
from service.traces import traces_of

if TYPE_CHECKING:
    from service.metrics.api import ApiMetrics
    from service.traces.spans import Traces


@asynccontextmanager
async def observed(settings: Settings, directory: Path) -> AsyncIterator[tuple["ApiMetrics", "Traces | None"]]:
    """What is measured and told of an API process, in files of this directory, while it serves."""
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)
    from service.metrics.api import ApiMetrics  # reads the variable when it is imported

    traces = traces_of(settings)
    try:
        yield ApiMetrics(), traces
    finally:
        if traces is not None:
            await asyncio.to_thread(traces.close)


@asynccontextmanager
async def serving(settings: Settings, directory: RunDirectory) -> AsyncIterator[ServiceState]:
    """The state that routes share, while the process serves with the workers of this directory."""
    async with observed(settings, directory.metrics) as (metrics, traces):
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


@asynccontextmanager
async def serving_with_own_workers(settings: Settings) -> AsyncIterator[ServiceState]:
    """The same, in a directory of this process and its siblings, one of which keeps the workers."""
    own = RunDirectory.open(settings.run_directory, group_name())
    try:
        async with serving(settings, own) as state:
            from service.metrics.parent import ParentMetrics  # imported late, as above

            ownership = Ownership(own, settings, ParentMetrics().restarted)
            ownership.start()
            yield state
        await ownership.close()
    finally:
        own.close()
