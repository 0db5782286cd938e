"""`Client` and `AsyncClient`: the calls of `calls`, driven by blocking or by awaiting."""

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import httpx

from service.client.calls import Calls
from service.client.drive import drive, drive_async
from service.client.retry import Steps

P = ParamSpec("P")
T = TypeVar("T")


def _blocking(plan: Callable[Concatenate[Calls, P], Steps[T]]) -> "Callable[Concatenate[Client, P], T]":
    @wraps(plan)
    def method(client: "Client", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return drive(plan(client._calls, *args, **kwargs), client._http)

    return method


def _awaited(
    plan: Callable[Concatenate[Calls, P], Steps[T]],
) -> "Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, T]]":
    @wraps(plan)
    async def method(client: "AsyncClient", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await drive_async(plan(client._calls, *args, **kwargs), client._http)

    return method


class _Configured:
    """What both clients are made from."""

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:8000",
        *,
        api_key: str | None = None,
        timeout_s: float | None = 60.0,
        retries: int = 3,
        binary: bool | None = None,
        transport: Any = None,
    ) -> None:
        self._calls = Calls(timeout_s, retries, binary)
        self._http = self._connected(
            base_url=base_url,
            headers={} if api_key is None else {"Authorization": f"Bearer {api_key}"},
            transport=transport,
        )

    def _connected(self, **options: Any) -> Any:
        raise NotImplementedError


class Client(_Configured):
    """Client of the service; one may be shared by threads.

    Args:
        base_url: where the service is.
        api_key: sent as a bearer token.
        timeout_s: bounds each call, retries included; None leaves it to the server's deadline.
        retries: attempts after the first, on 429, 502, 503 and broken connections.
        binary: whether arrays travel as bytes (True) or as lists (False); None chooses by their size.
        transport: an httpx transport, for tests.

    """

    _http: httpx.Client

    attention = _blocking(Calls.attention)
    loss = _blocking(Calls.loss)
    attention_text = _blocking(Calls.attention_text)
    loss_text = _blocking(Calls.loss_text)
    losses = _blocking(Calls.losses)
    models = _blocking(Calls.models)
    ready = _blocking(Calls.ready)
    live = _blocking(Calls.live)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _connected(self, **options: Any) -> httpx.Client:
        return httpx.Client(timeout=None, **options)


class AsyncClient(_Configured):
    """Client of the service for asyncio or trio; its calls may run at the same time.

    Args:
        base_url: where the service is.
        api_key: sent as a bearer token.
        timeout_s: bounds each call, retries included; None leaves it to the server's deadline.
        retries: attempts after the first, on 429, 502, 503 and broken connections.
        binary: whether arrays travel as bytes (True) or as lists (False); None chooses by their size.
        transport: an httpx transport, for tests.

    """

    _http: httpx.AsyncClient

    attention = _awaited(Calls.attention)
    loss = _awaited(Calls.loss)
    attention_text = _awaited(Calls.attention_text)
    loss_text = _awaited(Calls.loss_text)
    losses = _awaited(Calls.losses)
    models = _awaited(Calls.models)
    ready = _awaited(Calls.ready)
    live = _awaited(Calls.live)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def _connected(self, **options: Any) -> httpx.AsyncClient:
        return httpx.AsyncClient(timeout=None, **options)
