"""Options that several commands share."""

from typing import Annotated

import typer

Server = Annotated[
    str | None,
    typer.Option("--server", metavar="URL", envvar="ATTNLOSS_URL", help="Ask this server; without: compute here."),
]
ApiKey = Annotated[
    str | None,
    typer.Option("--api-key", metavar="KEY", envvar="ATTNLOSS_API_KEY", help="Key of the server.", show_envvar=True),
]
ModelName = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="MODEL",
        help="With a server: one of its models (default: its first). Here: default, a Hugging Face name or a folder.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
