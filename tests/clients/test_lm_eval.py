"""Unmodified lm-eval through HTTP gives what its own hf backend gives with the same model, document by document."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.server.test_text import FOLDER, wait_for_models
from tests.service.text import local
from tests.serving import Server

HERE = Path(__file__).parent
TASKS = ["local_choices", "local_texts"]
MAX_LENGTH = {"default": 512, "gpt2": 60}
"""Of hf, which counts the tokens that the model reads; over HTTP the last one and a generated one count as well."""

pytestmark = pytest.mark.slow


def run_all(runs: list[dict[str, Any]], home: Path) -> list[dict[str, Any]]:
    """What lm-eval found, from one process for all: it takes long to begin."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "ATTNLOSS_"))}
    own = {"HF_HOME": str(home), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    command = [sys.executable, str(HERE / "evaluate.py"), str(HERE / "tasks")]
    done = subprocess.run(
        command, input=json.dumps(runs), capture_output=True, text=True, check=False, env=kept | own, timeout=170
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return list(json.loads(done.stdout))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {"default": FOLDER, "gpt2": local.save_gpt2(tmp_path_factory.mktemp("gpt2"))}


@pytest.fixture(scope="module")
def scoring(start_server: Callable[..., Server], folders: dict[str, Path]) -> Server:
    server = start_server(models=",".join(f"{name}={folder}" for name, folder in folders.items()), processes=2)
    wait_for_models(server)
    return server


@pytest.fixture(scope="module")
def found(scoring: Server, folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What each run found, by its name."""
    runs: dict[str, dict[str, Any]] = {}

    def http(name: str, batch_size: int, **more: Any) -> dict[str, Any]:
        url = f"http://127.0.0.1:{scoring.port}/v1/completions"
        arguments = {"model": name, "base_url": url, "max_length": MAX_LENGTH[name] + 2, "max_retries": 1}
        return {"model": "local-completions", "model_args": arguments | more, "batch_size": batch_size}

    for name, folder in folders.items():
        here = {"pretrained": str(folder), "device": "cpu", "dtype": "float32", "max_length": MAX_LENGTH[name]}
        for bos in (False, True):
            own = here | {"add_bos_token": bos}
            runs[f"{name} hf{' bos' * bos}"] = {"model": "hf", "model_args": own, "batch_size": 1}
        for batch_size in (1, 8):
            for concurrent in (1, 4):
                more = {"tokenizer": str(folder), "tokenizer_backend": "huggingface", "num_concurrent": concurrent}
                runs[f"{name} http {batch_size} {concurrent}"] = http(name, batch_size, **more)
    runs["default remote"] = http("default", 8, tokenizer_backend="remote", num_concurrent=4)
    runs["default bos"] = http("default", 8, tokenizer=str(FOLDER), add_bos_token=True)
    runs["default auto"] = http("default", 8, tokenizer_backend="auto", num_concurrent=1)
    came = run_all([run | {"tasks": TASKS} for run in runs.values()], tmp_path_factory.mktemp("hf"))
    return dict(zip(runs, came, strict=True))


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", ["default", "gpt2"])
def test_every_document_has_the_log_likelihood_of_the_hf_backend(found: dict[str, Any], name: str, task: str) -> None:
    truth = found[f"{name} hf"][task]
    assert len(truth) == {"local_choices": 34, "local_texts": 4}[task]
    runs = [run for run in found if run.startswith(name) and not ("hf" in run or run.endswith("bos"))]
    assert len(runs) == {"default": 6, "gpt2": 4}[name]
    for run in runs:
        assert_same(found[run][task], truth, run)


@pytest.mark.parametrize("task", TASKS)
def test_a_bos_that_the_client_puts_first_is_scored_as_it_came(found: dict[str, Any], task: str) -> None:
    assert_same(found["default bos"][task], found["default hf bos"][task], "default bos")
    assert found["default bos"][task] != found["default http 8 1"][task]


def assert_same(came: list[Any], truth: list[Any], run: str) -> None:
    flat, expected = (np.array(_flat(each), np.float64) for each in (came, truth))
    assert flat.shape == expected.shape, run
    np.testing.assert_allclose(flat, expected, rtol=0, atol=1e-4, err_msg=run)


def _flat(tree: Any) -> list[float]:
    return [number for each in tree for number in _flat(each)] if isinstance(tree, list) else [tree]
