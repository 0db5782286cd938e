"""The service's text endpoints without a server: the same validation, model and worker, in this process.

`LocalService` has the methods of a client for text, so that a program can do with either.
"""

import threading
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from service.batcher import Batch
from service.errors import ServiceError, Unavailable
from service.job import Job
from service.settings import Settings
from service.text.errors import ModelUnusable
from service.text.prepare import prepared
from service.text.validate import text_attention_job, text_loss_job
from service.worker import Situation, Worker

_NO_DEADLINE_S = 7 * 86400.0


@dataclass(frozen=True)
class LocalResult:
    """The answer for some texts: `results` has an entry for each, as the service's answer has, arrays as numpy."""

    model: str | None
    backend: str | None
    results: list[dict[str, Any]]


class LocalService:
    """One text model in this process; the device is that of ATTNLOSS_DEVICE.

    Args:
        model: `default`, a Hugging Face name or a folder, as `source` or `name=source`.

    Raises:
        Unavailable: the model cannot be loaded.
        ValueError: the setting of the model is not understood, or the device is not there.

    """

    def __init__(self, model: str = "default") -> None:
        from service.text.models import load

        self._settings = Settings(models=model, deadline_s=_NO_DEADLINE_S)
        self._worker = Worker(self._settings)
        ((name, source),) = self._settings.model_sources.items()
        try:
            self._model = load(name, source, self._settings.model_dtype, self._worker.device)
        except ModelUnusable as error:
            raise Unavailable(f"The model {name} could not be loaded: {error}") from None
        self._lock = threading.Lock()

    def loss_text(
        self,
        text: str | Sequence[str],
        *,
        returns: Sequence[str] = ("loss",),
        losses: Sequence[dict[str, Any]] | None = None,
        **fields: Any,
    ) -> LocalResult:
        """What POST /loss answers for these texts. Raises ServiceError."""
        body = _body(text, returns, fields) | ({} if losses is None else {"losses": list(losses)})
        return self._answer(text_loss_job(body, self._settings, uuid.uuid4().bytes))

    def attention_text(
        self, text: str | Sequence[str], *, returns: Sequence[str] = ("entropy",), **fields: Any
    ) -> LocalResult:
        """What POST /attention answers for these texts. Raises ServiceError."""
        body = _body(text, returns, fields)
        return self._answer(text_attention_job(body, self._settings, uuid.uuid4().bytes))

    def models(self) -> list[dict[str, Any]]:
        """What GET /models tells of the model."""
        return [{"name": self._model.name, "state": "ready"} | self._model.public()]

    def close(self) -> None:
        """Nothing is held open; a client has this method."""

    def _answer(self, job: Job) -> LocalResult:
        with self._lock:
            batch = Batch.of([prepared(job, self._model, None, self._settings)])
            (outcome,) = self._worker.run(batch, Situation(all_cores=True))
        if outcome.result is None:
            assert outcome.error is not None
            raise ServiceError.from_wire(outcome.error)
        return LocalResult(outcome.result.get("model"), outcome.result.get("backend"), outcome.result["results"])


def _body(text: str | Sequence[str], returns: Sequence[str], fields: dict[str, Any]) -> dict[str, Any]:
    given = {name: value for name, value in fields.items() if value is not None}
    return {"text": text if isinstance(text, str) else list(text), "return": list(returns)} | given
