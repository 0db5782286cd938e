"""The `attnloss` command: serve, score, attention, models, bench.

The commands import what they need when they run, so that `attnloss --help` loads neither torch nor a server.
"""

import os
import sys
from typing import Annotated

import typer

from service.cli import attention, bench, models, score, serve
from service.cli.failure import INTERRUPTED, UNREAD, USAGE, CommandFailed, OutputUnread
from service.cli.help import epilog

app = typer.Typer(no_args_is_help=True, add_completion=True, pretty_exceptions_enable=False, rich_markup_mode="rich")


@app.callback(
    invoke_without_command=True,
    epilog=epilog(
        "attnloss serve",
        "attnloss score corpus.jsonl -o losses.parquet",
        'attnloss attention "I love programming" --plot maps.html',
        "attnloss COMMAND --help",
        statuses=(0, 1, 2, 3, 130),
        variables={
            "ATTNLOSS_URL": "server that score, attention, models and bench ask; unset: in this process",
            "ATTNLOSS_API_KEY": "sent to that server as Authorization: Bearer",
            "ATTNLOSS_DEVICE": "auto, cpu, cuda, mps: where models are computed",
            "NO_COLOR": "no colours",
        },
    ),
)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False,
) -> None:
    """Attention losses and statistics, served over HTTP or computed here."""
    if version:
        import attnloss

        typer.echo(f"attnloss {attnloss.__version__}")
        raise typer.Exit


app.command(epilog=serve.EPILOG)(serve.serve)
app.command(epilog=score.EPILOG)(score.score)
app.command(epilog=attention.EPILOG)(attention.attention)
app.command(epilog=models.EPILOG)(models.models)
app.command(epilog=bench.EPILOG)(bench.bench)


def main() -> None:
    """Entry point: every failure is one line and a status."""
    try:
        status = app(prog_name="attnloss", standalone_mode=False)
    except CommandFailed as failed:
        status = _told(str(failed), failed.status)
    except (KeyboardInterrupt, typer.Abort):
        status = _told("interrupted", INTERRUPTED)
    except OutputUnread:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the interpreter complains at its end
        status = UNREAD
    except Exception as error:
        if not hasattr(error, "format_message"):  # click's own errors, whichever package typer takes them from
            raise
        status = _told(error.format_message(), USAGE) if error.format_message() else USAGE
    sys.exit(status)


def _told(message: str, status: int) -> int:
    typer.echo(f"attnloss: {' '.join(message.split())}", err=True)
    return status
