"""Where text jobs are received: one thread loads the models, another tokenises, while the device computes.

Text that arrives while its model loads waits here; tensors and texts of other models do not.
"""

import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog
import torch

from service.errors import ComputeFailed, DeadlinePassed, ServiceError, Unavailable
from service.job import Job, Outcome
from service.settings import Settings
from service.text.errors import ModelUnusable

if TYPE_CHECKING:
    from service.text.models import TextModel

log = structlog.get_logger()

_RETRY_S = 15.0
_MOST_RETRY_S = 600.0
"""A hub that cannot be reached is asked again after a while, then after twice that, up to this."""


@dataclass
class _State:
    """A configured model, if it is loaded, and what GET /models tells of it: loading, ready, or why it failed."""

    source: str
    model: "TextModel | None" = None
    told: dict[str, Any] = field(default_factory=dict)


class Desk:
    """Text jobs in; tokenised jobs, or outcomes of those that cannot be, out of `take`.

    Args:
        settings: which models, and the limits of jobs.
        device: where models are put.

    """

    def __init__(self, settings: Settings, device: torch.device) -> None:
        self._settings = settings
        self._device = device
        self._wake: Callable[[], None] = lambda: None
        self.announce: Callable[[bytes | None], None] = lambda job_id: None
        """Told which job is being tokenised, so that one that ends the worker is known by its successor."""
        self._models = {
            name: _State(source, told={"name": name, "state": "loading"})
            for name, source in settings.model_sources.items()
        }
        self._arrived: queue.SimpleQueue[Job | str | None] = queue.SimpleQueue()
        """Jobs, names of models that are loading no more, and None for the end."""
        self._held: dict[bytes, Job] = {}
        self._done: deque[Job | Outcome] = deque()
        self._threads = [
            threading.Thread(target=work, name=f"desk-{work.__name__.strip('_')}", daemon=True)
            for work in (self._load_all, self._tokenise_all)
        ]

    def start(self, wake: Callable[[], None]) -> None:
        """Begin to load; `wake` is called from the desk's threads whenever there is something to take."""
        self._wake = wake
        for thread in self._threads if self._models else ():
            thread.start()

    def put(self, job: Job) -> None:
        """Take in a text job."""
        if job.id not in self._held:
            self._held[job.id] = job
            self._arrived.put(job)

    def remove(self, job_id: bytes) -> bool:
        """Forget a job nobody waits for."""
        return self._held.pop(job_id, None) is not None

    def __contains__(self, job_id: bytes) -> bool:
        return job_id in self._held

    def __len__(self) -> int:
        return len(self._held)

    def take(self) -> list[Job | Outcome]:
        """What has been tokenised, or refused, since the last call; the caller's thread alone calls it."""
        taken = []
        while self._done:
            each = self._done.popleft()
            job_id = each.id if isinstance(each, Job) else each.job_id
            if self._held.pop(job_id, None) is not None:
                taken.append(each)
        return taken

    def public(self) -> list[dict[str, Any]]:
        """The entries of GET /models."""
        return [state.told for state in self._models.values()]

    def close(self) -> None:
        """End the tokenising after the job in hand; a model that still loads is left to the process's end."""
        self._arrived.put(None)

    def _load_all(self) -> None:
        missing, pause_s = list(self._models), _RETRY_S
        while missing:
            loading, missing = missing, []
            for name in loading:
                if not self._load(name, self._models[name]):
                    missing.append(name)
                self._arrived.put(name)
                self._wake()
            if missing:
                time.sleep(pause_s)
                pause_s = min(2 * pause_s, _MOST_RETRY_S)

    def _tokenise_all(self) -> None:
        parked: list[Job] = []
        while (arrived := self._arrived.get()) is not None:
            ready = parked if isinstance(arrived, str) else [arrived]
            parked = [job for job in ready if self._loads(job)] + ([] if isinstance(arrived, str) else parked)
            for job in ready:
                if job.id in self._held and not self._loads(job):
                    self._done.append(self._tokenised(job))
                    self._wake()

    def _names(self, job: Job) -> list[str]:
        """The model that a job asks for, and the student if it is compared with one."""
        first = job.options.get("teacher") or job.options["model"] or next(iter(self._models))
        student = job.options.get("student")
        return [first] if student is None else [first, student]

    def _loads(self, job: Job) -> bool:
        return any(self._models[name].told["state"] == "loading" for name in self._names(job))

    def _load(self, name: str, state: _State) -> bool:
        """Load a model; false if it should be tried again."""
        began_s = time.monotonic()
        try:
            from service.text.models import load  # loads torch's company, which takes seconds

            state.model = load(name, state.source, self._settings.model_dtype, self._device)
            state.told = {"name": name, "state": "ready"} | state.model.public()
            log.info("model ready", model=name, took_s=round(time.monotonic() - began_s, 2), layout=state.model.layout)
        except ModelUnusable as error:
            state.told = {"name": name, "state": "failed", "why": str(error)}
            log.error("model failed", model=name, source=state.source, why=str(error), again=error.passing)
            return not error.passing
        except Exception:
            state.told = {"name": name, "state": "failed", "why": "the cause is in the server's log"}
            log.exception("model failed", model=name, source=state.source)
        return True

    def _tokenised(self, job: Job) -> Job | Outcome:
        if job.deadline_s <= time.monotonic():
            return Outcome(job.id, error=DeadlinePassed("The deadline passed before the computation began.").to_wire())
        from service.text import tokenizing
        from service.text.completions import read_prompts
        from service.text.prepare import prepared

        def given_up() -> bool:
            return job.id not in self._held or job.deadline_s <= time.monotonic()

        self.announce(job.id)
        try:
            model, *student = map(self._model, self._names(job))
            endpoint = job.options["endpoint"]
            if endpoint in tokenizing.ENDPOINTS:
                return Outcome(job.id, tokenizing.tokenizer_answer(job, model))
            if endpoint == "completions":
                return read_prompts(job, model, self._settings, given_up)
            return prepared(job, model, student[0] if student else None, self._settings, given_up)
        except ServiceError as error:
            return Outcome(job.id, error=error.to_wire())
        except BaseException as error:  # a panic of the tokenizers' is no Exception
            log.error("text job failed", job=job.id.hex(), exc_info=error)
            failed = ComputeFailed("The text could not be read; the cause is in the server's log.")
            return Outcome(job.id, error=failed.to_wire())
        finally:
            self.announce(None)

    def _model(self, name: str) -> "TextModel":
        state = self._models[name]
        if state.model is None:
            raise Unavailable(f"The model {name} could not be loaded: {state.told['why']}")
        return state.model
