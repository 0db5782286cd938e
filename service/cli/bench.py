"""`attnloss bench`."""

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from service.cli.backend import check_address
from service.cli.failure import GAVE_UP, CommandFailed
from service.cli.help import epilog
from service.cli.options import ApiKey, Json, Server

if TYPE_CHECKING:
    from service.cli.load import Load, Measured

EPILOG = epilog(
    "attnloss bench --server http://127.0.0.1:8000",
    "attnloss bench --shape 1,8,128,64 --concurrency 32 --body binary",
    "attnloss bench --seconds 5 --json | jq .requests_per_s",
    statuses=(0, 1, 2, 3, 130),
)

_DEFAULT_SERVER = "http://127.0.0.1:8000"


def bench(
    server: Server = None,
    api_key: ApiKey = None,
    concurrency: Annotated[int, typer.Option(min=1, max=1024, help="Requests at once.")] = 16,
    shape: Annotated[
        str, typer.Option(help="Of query, key and value: n,d or batch,n,d or batch,heads,n,d.")
    ] = "10,768",
    seconds: Annotated[float, typer.Option(min=0.1, help="How long to measure.")] = 10.0,
    body: Annotated[
        Literal["json", "binary"], typer.Option(help="Nested lists, or bytes by the Open Inference Protocol.")
    ] = "json",
    as_json: Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Measure a running server: answers per second and what an answer takes, at the median and the 99th percentile.

    All requests are alike and sent by one process, whose own time is in the numbers. Without --server: port 8000 here.
    Exit status 1 if an answer was no 200.
    """
    from service.cli.load import Load

    dims = _dims(shape)
    check_address(server or _DEFAULT_SERVER)
    load = Load.json(dims) if body == "json" else Load.binary(dims)
    measured = _measured(server or _DEFAULT_SERVER, load, concurrency, seconds, api_key, quiet=quiet)
    asked: dict[str, Any] = {"body": body, "shape": list(dims), "concurrency": concurrency, "seconds": seconds}
    sizes = {"request_bytes": len(load.content), "answer_bytes": measured.answer_bytes}
    found = asked | sizes | measured.summary()
    if as_json:
        typer.echo(json.dumps(found))
    else:
        _show(found)
    if found["failed"]:
        raise typer.Exit(1)


def _dims(shape: str) -> tuple[int, ...]:
    parts = shape.replace("x", ",").split(",")
    if not (2 <= len(parts) <= 4 and all(part.strip().isdecimal() and int(part) > 0 for part in parts)):
        raise CommandFailed(f"--shape: expected 2 to 4 positive integers as in 10,768, came {shape!r}")
    return tuple(map(int, parts))


def _measured(
    server: str, load: "Load", concurrency: int, seconds: float, api_key: str | None, *, quiet: bool
) -> "Measured":
    import asyncio

    import httpx
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    from service.cli.load import measure

    silent = quiet or not sys.stderr.isatty()
    bar = Progress(
        BarColumn(), TextColumn("{task.description}"), console=Console(stderr=True), transient=True, disable=silent
    )
    task = bar.add_task("connecting", total=seconds)

    def tell(spent_s: float, requests: int) -> None:
        bar.update(task, completed=spent_s, description=f"{requests} requests, {seconds - spent_s:.0f} s left")

    sending = measure(server, load, concurrency=concurrency, seconds=seconds, api_key=api_key, tell=tell)
    try:
        with bar:
            return asyncio.run(sending)
    except (httpx.TransportError, BaseExceptionGroup) as raised:
        error: BaseException = raised
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if not isinstance(error, httpx.TransportError):
            raise
        raise CommandFailed(f"{server}: {error or type(error).__name__}", GAVE_UP) from None


def _show(found: dict[str, Any]) -> None:
    from rich.table import Table

    from service.cli.maps.terminal import console

    table = Table()
    columns = ("body", "shape", "concurrency", "requests", "failed", "requests_per_s", "p50_ms", "p99_ms", "mean_ms")
    for name in columns:
        table.add_column(name.replace("_per_s", "/s").replace("_", " "), justify="right")
    cells = found | {"shape": ",".join(map(str, found["shape"]))}
    table.add_row(*(str(cells.get(name, "")) for name in columns))
    console().print(table)
    if found["failed"]:
        typer.echo(f"answers by status: {', '.join(f'{k}: {v}' for k, v in found['statuses'].items())}")
