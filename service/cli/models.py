"""`attnloss models`."""

import json
from typing import Any

import typer

from service.cli.backend import open_backend
from service.cli.help import epilog
from service.cli.options import ApiKey, Json, ModelName, Server

EPILOG = epilog(
    "attnloss models --server http://127.0.0.1:8000",
    "attnloss models --model gpt2 --json",
    statuses=(0, 2, 3),
)

_COLUMNS = (
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


def models(server: Server = None, api_key: ApiKey = None, model: ModelName = None, as_json: Json = False) -> None:
    """List the text models of a server; or without one, load a model here and tell of it."""
    with open_backend(server, model, api_key=api_key) as backend:
        found = backend.models()
    if as_json:
        typer.echo(json.dumps(found))
        return
    from rich.table import Table
    from rich.text import Text

    from service.cli.maps.terminal import console

    table = Table()
    for name in _COLUMNS:
        table.add_column(name.replace("_", " "), justify="left" if name in _COLUMNS[:4] else "right")
    for entry in found:
        table.add_row(*(Text(_cell(entry.get(name))) for name in _COLUMNS))
    console().print(table)
    for entry in found:
        if entry.get("why"):
            typer.echo(f"{entry['name']}: {entry['why']}")


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
