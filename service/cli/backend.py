"""Who computes: a server, through the client, or this process. Both fail in the same two ways."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

from service.cli.failure import GAVE_UP, CommandFailed

_ATTEMPTS_MAY_HELP = (408, 429, 502, 503, 504)
_OF_THE_COMMAND = (401, 403, 404)
"""Statuses that have nothing to do with the texts of a request."""


class Answer(Protocol):
    """What the client and the local service answer for texts."""

    @property
    def model(self) -> str | None:
        """Name of the model that computed it."""

    @property
    def results(self) -> list[dict[str, Any]]:
        """An entry for each text."""


@dataclass
class TextRefused(Exception):
    """The service answered with an error that may be due to one of the texts."""

    status: int
    detail: str


class Backend:
    """Computes texts. Raises TextRefused, or CommandFailed for what concerns no single text.

    Args:
        service: a client or a local service.
        name: what to call it in messages.

    """

    def __init__(self, service: Any, name: str) -> None:
        self._service = service
        self.name = name

    def loss_text(self, texts: Sequence[str], **options: Any) -> list[dict[str, Any]]:
        """The results of POST /loss, one for each text."""
        return list(self._call("loss_text", list(texts), **options).results)

    def attention_text(self, text: str, **options: Any) -> tuple[str | None, dict[str, Any]]:
        """The model's name, and the result of POST /attention."""
        answer = self._call("attention_text", text, **options)
        return answer.model, answer.results[0]

    def models(self) -> list[dict[str, Any]]:
        """The models that can be named."""
        return list(self._call("models"))

    def _call(self, method: str, *arguments: Any, **options: Any) -> Any:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._service.close()


class _Local(Backend):
    def _call(self, method: str, *arguments: Any, **options: Any) -> Any:
        from service.errors import ServiceError

        try:
            return getattr(self._service, method)(*arguments, **options)
        except ServiceError as error:
            raise _refusal(error.status, error.detail, [problem.field for problem in error.errors]) from None


class _Remote(Backend):
    def _call(self, method: str, *arguments: Any, **options: Any) -> Any:
        from service.client import ApiError, AttnlossError

        try:
            return getattr(self._service, method)(*arguments, **options)
        except ApiError as error:
            if error.status in _ATTEMPTS_MAY_HELP:
                raise CommandFailed(f"{self.name} gave up: {error.status}, {error.detail}", GAVE_UP) from None
            fields = [problem.get("field", "") for problem in (error.problem or {}).get("errors", [])]
            raise _refusal(error.status, error.detail, fields) from None
        except AttnlossError as error:
            raise CommandFailed(f"{self.name}: {error}", GAVE_UP) from None


def _refusal(status: int, detail: str, fields: Sequence[str]) -> Exception:
    if status in _OF_THE_COMMAND or "model" in fields:
        return CommandFailed(detail)
    return TextRefused(status, detail)


def open_backend(
    server: str | None, model: str | None, *, timeout_s: float = 60.0, api_key: str | None = None
) -> Backend:
    """The server at this address, or without one this process with the model. Raises CommandFailed."""
    if server:
        check_address(server)
        from service.client import Client

        return _Remote(Client(server, timeout_s=timeout_s, api_key=api_key), server)
    from service.errors import Unavailable
    from service.logs import configure_logs

    configure_logs("error")
    try:
        from service.local import LocalService

        return _Local(LocalService(model or "default"), "this process")
    except Unavailable as error:
        raise CommandFailed(error.detail) from None
    except ValueError as error:  # pydantic's is one
        raise CommandFailed(f"--model or an ATTNLOSS_ setting: {_reason(error)}") from None


def check_address(server: str) -> None:
    """Raise CommandFailed for what is no address of a server."""
    import httpx

    try:
        url = httpx.URL(server)
        usable = url.scheme in ("http", "https") and url.host
    except httpx.InvalidURL:
        usable = False
    if not usable:
        raise CommandFailed(f"--server: expected an address as in http://127.0.0.1:8000, came {server!r}")


def _reason(error: ValueError) -> str:
    problems = getattr(error, "errors", None)
    return str(problems()[0]["msg"]).removeprefix("Value error, ") if problems else str(error)
