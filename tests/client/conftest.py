"""Both clients behind one face, a real server for them, and a clock that only pauses move."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import httpx
import pytest

from service.client import AsyncClient, Client
from tests.serving import Server, server_starter


class Awaiting:
    """AsyncClient whose methods are run to their end, so that one test body drives both clients."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._runner = asyncio.Runner()
        self._client = AsyncClient(*args, **options)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *args, **options: self._runner.run(getattr(self._client, name)(*args, **options))

    def close(self) -> None:
        self._runner.run(self._client.aclose())
        self._runner.close()


@pytest.fixture(scope="session")
def start_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    with server_starter(tmp_path_factory) as start:
        yield start


@pytest.fixture(scope="session")
def server(start_server: Callable[..., Server]) -> Server:
    return start_server(models="default")


@pytest.fixture(params=[Client, Awaiting], ids=["blocking", "awaiting"])
def make_client(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Makes clients of one kind, and closes them."""
    made: list[Any] = []

    def make(*args: Any, **options: Any) -> Any:
        made.append(request.param(*args, **options))
        return made[-1]

    yield make
    for client in made:
        client.close()


class Clock:
    """Seconds that pass only in pauses, which it remembers."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.pauses_s: list[float] = []

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.pauses_s.append(seconds)
        self.now_s += seconds

    async def async_sleep(self, seconds: float) -> None:
        self.sleep(seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("service.client.retry.monotonic", clock.monotonic)
    monkeypatch.setattr("service.client.retry.time", clock.monotonic)
    monkeypatch.setattr("service.client.drive.monotonic", clock.monotonic)
    monkeypatch.setattr("service.client.drive.sleep", clock.sleep)
    monkeypatch.setattr(anyio, "sleep", clock.async_sleep)
    return clock


class Script:
    """A transport that gives these answers in turn, the last again and again, and keeps the requests."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []

    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self._answer)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        found = answer(request) if callable(answer) else answer
        assert isinstance(found, httpx.Response)
        return httpx.Response(found.status_code, headers=found.headers, content=found.content)


@pytest.fixture
def script() -> type[Script]:
    return Script
