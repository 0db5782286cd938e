"""`attnloss serve`."""

from typing import Annotated

import typer

from service.cli.failure import CommandFailed
from service.cli.help import epilog

EPILOG = epilog(
    "attnloss serve --port 8000 --models default,gpt2",
    "ATTNLOSS_MAX_TEXTS=1000 attnloss serve --host 0.0.0.0",
    statuses=(0, 2),
)


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on. [ATTNLOSS_HOST, else 127.0.0.1]")] = None,
    port: Annotated[
        int | None, typer.Option(help="Port to listen on; 0 takes a free one. [ATTNLOSS_PORT, 8000]")
    ] = None,
    processes: Annotated[int | None, typer.Option(help="API processes. [ATTNLOSS_PROCESSES, by cores]")] = None,
    device: Annotated[
        str | None, typer.Option(help="auto, cpu, cuda, mps, or a list as in cuda:0,cuda:1. [ATTNLOSS_DEVICE, auto]")
    ] = None,
    models: Annotated[
        str | None, typer.Option(help="Text models: default,gpt2,my=/models/my. [ATTNLOSS_MODELS, default]")
    ] = None,
) -> None:
    """Serve POST /attention and POST /loss until Ctrl-C; every other setting is an ATTNLOSS_ variable."""
    from pydantic import ValidationError

    from service.serve import serve as run
    from service.settings import Settings

    given = {"host": host, "port": port, "processes": processes, "device": device, "models": models}
    try:
        settings = Settings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        why = first["msg"].removeprefix("Value error, ")
        raise CommandFailed(f"{'.'.join(map(str, first['loc']))}: {why}, came {first['input']!r}") from None
    try:
        status = run(settings)
    except ValueError as error:
        raise CommandFailed(str(error)) from None
    except OSError as error:
        if error.filename == str(settings.api_keys_file):
            raise CommandFailed(f"cannot read ATTNLOSS_API_KEYS_FILE: {error.strerror}: {error.filename}") from None
        reason = f"{error.strerror}: {error.filename}" if error.filename else error.strerror or error
        raise CommandFailed(f"cannot serve on {settings.host}:{settings.port}: {reason}") from None
    raise typer.Exit(status)
