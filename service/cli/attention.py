"""`attnloss attention`."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from service.cli.backend import TextRefused, open_backend
from service.cli.failure import CommandFailed
from service.cli.help import epilog
from service.cli.options import ApiKey, Json, ModelName, Server

EPILOG = epilog(
    'attnloss attention "I love programming"',
    'attnloss attention "I love programming" --layer 2 --head 0',
    'attnloss attention "I love programming" --layer -1 --plot maps.html',
    "echo So do I | attnloss attention - --server http://127.0.0.1:8000",
    statuses=(0, 2, 3),
    variables={"NO_COLOR": "the heat strip writes its numbers out, as it does where the output is no terminal"},
)


def attention(
    text: Annotated[str, typer.Argument(help="The text; - reads it from standard input.")],
    layer: Annotated[int | None, typer.Option(help="One layer; -1 is the last. Default: all.")] = None,
    head: Annotated[int | None, typer.Option(help="One head; -1 is the last. Default: all.")] = None,
    server: Server = None,
    api_key: ApiKey = None,
    model: ModelName = None,
    plot: Annotated[
        Path | None, typer.Option(help="Write the maps to a .html page, or to a .png or .svg image.")
    ] = None,
    theme: Annotated[str, typer.Option(help="Of a .png or .svg: light or dark.")] = "light",
    as_json: Json = False,
) -> None:
    """Show where a model attends in a text: a table of heads, or of tokens if one head is chosen, and a heat strip.

    The strip colours each token by the weight that it gets from the tokens that may look at it, mean over what is
    shown. Entropies are in nats.
    """
    given = sys.stdin.read().rstrip("\n") if text == "-" else text
    if not given:
        raise CommandFailed("the text is empty")
    write_plot = None
    if plot is not None:
        from service.cli.maps.plot import Maps, writer

        write_plot = writer(plot, theme)
    options = {
        "layers": None if layer is None else [layer],
        "heads": None if head is None else [head],
        "returns": ["entropy", "max", "received", "top", *(["weights"] if plot else [])],
        "top_k": 1,
        "model": model if server else None,
    }
    with open_backend(server, model, api_key=api_key) as backend:
        try:
            name, result = backend.attention_text(given, **options)
        except TextRefused as refused:
            raise CommandFailed(refused.detail) from None
    if plot is not None and write_plot is not None:
        try:
            write_plot(Maps.of(result, given))
        except OSError as error:
            raise CommandFailed(f"{plot}: {error.strerror}") from None
    _show(name, result, one_head=layer is not None and head is not None, as_json=as_json)


def _show(name: str | None, result: dict[str, Any], *, one_head: bool, as_json: bool) -> None:
    from dataclasses import asdict

    from service.cli.maps import summary, terminal

    rows = summary.by_token(result) if one_head else summary.by_head(result)
    shares = summary.seen_share(result)
    tokens = summary.key_tokens(result)
    console = terminal.console()
    if as_json:
        import json

        shown = {"model": name, "tokens": tokens, "seen_share": shares.tolist(), "rows": [asdict(row) for row in rows]}
        typer.echo(json.dumps(shown))
        return
    table = terminal.token_table(rows) if one_head else terminal.head_table(rows, tokens[0])  # type: ignore[arg-type]
    console.print(table)
    colour = console.is_terminal and not console.no_color and console.color_system is not None
    console.print(terminal.heat_strip(tokens, shares, colour=colour), soft_wrap=True)
