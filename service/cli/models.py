"""`attnloss models`."""

import json
from typing import Any

import typer

from service.cli.backend import open_backend
from service.cli.failure import CommandFailed
from service.cli.help import epilog
from service.cli.options import ApiKey, Json, Server

EPILOG = epilog(
    "attnloss models",
    "attnloss models --server http://127.0.0.1:8000 --json",
    statuses=(0, 2, 3),
    variables={"ATTNLOSS_MODELS": "what is configured: default,gpt2,my=/models/my"},
)

_SERVED = (
    "name",
    "state",
    "kind",
    "architecture",
    "layers",
    "heads",
    "context_length",
    "parameters",
    "dtype",
    "device",
)
_CONFIGURED = ("name", "source")
_WORDS = ("name", "source", "state", "kind", "architecture")


def models(server: Server = None, api_key: ApiKey = None, as_json: Json = False) -> None:
    """List the text models of a server; or without one, those that ATTNLOSS_MODELS configures."""
    if server:
        with open_backend(server, None, api_key=api_key) as backend:
            found = backend.models()
    else:
        found = _configured()
    if as_json:
        typer.echo(json.dumps(found))
        return
    _show(found, _SERVED if server else _CONFIGURED)


def _configured() -> list[dict[str, Any]]:
    from pydantic import ValidationError

    from service.settings import Settings

    try:
        return [{"name": name, "source": source} for name, source in Settings().model_sources.items()]
    except ValidationError as error:
        first = error.errors()[0]
        reason = first["msg"].removeprefix("Value error, ")
        raise CommandFailed(f"ATTNLOSS_{str(first['loc'][0]).upper()}: {reason}") from None


def _show(found: list[dict[str, Any]], columns: tuple[str, ...]) -> None:
    from rich.table import Table
    from rich.text import Text

    from service.cli.maps.terminal import console

    table = Table()
    for name in columns:
        table.add_column(name.replace("_", " "), justify="left" if name in _WORDS else "right")
    for entry in found:
        table.add_row(*(Text(_cell(entry.get(name))) for name in columns))
    console().print(table)
    for entry in found:
        if entry.get("why"):
            typer.echo(f"{entry['name']}: {entry['why']}")


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
