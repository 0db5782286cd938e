"""Models of random weights, loaded as the service loads them, and jobs through them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from service.batcher import Batch
from service.errors import ServiceError
from service.job import Job
from service.settings import Settings
from service.text.models import TextModel, load
from service.text.prepare import prepared
from service.text.validate import text_attention_job, text_loss_job
from service.worker import Worker
from tests.service.text import local

SAVE: dict[str, Callable[[Path], Path]] = {
    "gpt2": local.save_gpt2,
    "llama": local.save_llama,
    "bert": local.save_bert,
    "t5": local.save_t5,
}


class Loaded:
    """One model as the service has it, beside its folder, from which transformers makes the truth."""

    def __init__(self, name: str, folder: Path) -> None:
        self.folder = folder
        self.model: TextModel = load(name, str(folder), "float32", torch.device("cpu"))
        self.settings = Settings(models=f"{name}={folder}")
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)

    def job(self, path: str, fields: dict[str, Any], number: int = 0, student: TextModel | None = None) -> Job:
        """The tokenised job of a body."""
        make = text_attention_job if path == "/attention" else text_loss_job
        job = make(fields, self.settings, number.to_bytes(16, "big"))
        return prepared(job, self.model, student, self.settings)

    def post(self, path: str, **fields: Any) -> list[dict[str, Any]]:
        """The results of a body."""
        results: list[dict[str, Any]] = self.answer(path, **fields)["results"]
        return results

    def answer(self, path: str, **fields: Any) -> dict[str, Any]:
        """The answer to a body, as the worker makes it."""
        job = self.job(path, fields)
        (outcome,) = Worker(Settings(device="cpu", cpu_threads=1)).run(Batch((job,), job.cost, padded=False))
        if outcome.error is not None:
            raise ServiceError.from_wire(outcome.error)
        assert outcome.result is not None
        return outcome.result

    def eager(self, kind: Any) -> Any:
        """Transformers' own, which gives its weights."""
        return kind.from_pretrained(self.folder, attn_implementation="eager").eval()


@pytest.fixture(scope="session", autouse=True)
def _quiet() -> None:
    transformers.logging.disable_progress_bar()  # type: ignore[no-untyped-call]


@pytest.fixture(scope="session")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Loaded]:
    found: dict[str, Loaded] = {}

    def get(name: str) -> Loaded:
        if name not in found:
            found[name] = Loaded(name, SAVE[name](tmp_path_factory.mktemp(name)))
        return found[name]

    return get
