"""`docker compose up` after the build: how soon it answers."""

import json
import time

import httpx
import pytest

from tests.docker.compose import TENSORS, Compose, say, until

TENSORS_WITHIN_S = 10.0
TEXT_WITHIN_S = 25.0

pytestmark = pytest.mark.docker


def answers(client: httpx.Client, path: str, body: dict[str, object]) -> bool:
    try:
        return client.post(path, json=body, headers={"X-Request-Timeout": "60"}).status_code == 200
    except httpx.TransportError:
        return False


def test_it_answers_tensors_within_10_s_and_text_within_25_s_of_docker_compose_up(built: Compose) -> None:
    built("down", "--timeout", "5")
    began = time.monotonic()
    built("up", "--detach", "attnloss")
    up = time.monotonic() - began
    with built.client("ATTNLOSS") as client:
        until(lambda: answers(client, "/attention", TENSORS), "answering tensors")
        tensors = time.monotonic() - began
        until(lambda: answers(client, "/loss", {"text": "I love programming"}), "answering text")
        text = time.monotonic() - began
        ready = client.get("/health/ready").json()
    say(f"docker compose up returned after {up:.1f} s, tensors answered after {tensors:.1f} s, text after {text:.1f} s")
    assert ready["ready"] is True, json.dumps(ready)
    assert tensors < TENSORS_WITHIN_S
    assert text < TEXT_WITHIN_S
