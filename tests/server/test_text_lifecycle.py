"""Text while models load, workers die and tensors want to be served as well."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

TEXT = "I love programming"


@pytest.fixture(scope="module")
def texts(start_server: Callable[..., Any]) -> Iterator[Any]:
    server = start_server(models="default")
    yield server
    assert server.terminate() == 0
    assert "Traceback" not in server.log.read_text()


def test_tensors_do_not_wait_for_a_long_text(texts: Any) -> None:
    """Between two of its forwards they are computed."""
    body = {"text": ["the old sea and a dog went over every hill"] * 24, "order": {"permutations": 64}}
    began_s, done_s = time.monotonic(), []

    def ask() -> None:
        texts.post("/loss", body | {"return": []})
        done_s.append(time.monotonic() - began_s)

    thread = threading.Thread(target=ask)
    thread.start()
    waited_s = []
    while thread.is_alive():
        asked_s = time.monotonic()
        texts.is_right()
        waited_s.append(time.monotonic() - asked_s)
    thread.join()
    assert len(waited_s) > 5
    assert max(waited_s) < max(done_s[0] / 2, 1.0)


def test_a_killed_worker_costs_a_text_time_and_no_answer(texts: Any) -> None:
    truth = texts.post("/loss", {"text": TEXT})["results"][0]["loss"]
    killed = texts.worker_pid()
    os.kill(killed, signal.SIGKILL)
    answers: list[float] = []

    def ask() -> None:
        answers.append(texts.post("/loss", {"text": TEXT})["results"][0]["loss"])

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert answers == pytest.approx([truth] * 4, abs=1e-4)


def test_tensors_are_answered_while_a_model_loads_and_text_waits_for_it(start_server: Callable[..., Any]) -> None:
    server = start_server(models="default")
    while server.client.get("/health/ready").json()["ready"] is False:
        time.sleep(0.02)
    server.is_right()
    answer = server.post("/loss", {"text": TEXT})
    assert answer["results"][0]["loss"] > 0
    assert server.terminate() == 0


def test_without_models_text_is_not_found_and_tensors_are_served(
    start_server: Callable[..., Any], refused: Callable[..., None]
) -> None:
    server = start_server(models="")
    refused(server.client.post("/loss", json={"text": TEXT}), 404, "ATTNLOSS_MODELS")
    assert server.client.get("/models").json() == {"models": []}
    server.is_right()
