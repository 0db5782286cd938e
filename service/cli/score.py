"""`attnloss score`."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from service.cli.backend import Backend, open_backend
from service.cli.bulk import inputs, outputs
from service.cli.bulk.progress import progress
from service.cli.bulk.rows import RowPlan
from service.cli.bulk.run import Counts, run, skip
from service.cli.failure import GAVE_UP, INTERRUPTED, CommandFailed, OutputUnread
from service.cli.help import epilog
from service.cli.options import ApiKey, ModelName, Server

EPILOG = epilog(
    "attnloss score corpus.jsonl -o losses.jsonl",
    "attnloss score a.txt b.txt -o losses.csv --server http://127.0.0.1:8000",
    "zcat corpus.jsonl.gz | attnloss score - --input-format jsonl -o losses.parquet --losses entropy,sink",
    "attnloss score corpus.jsonl -o losses.jsonl --resume   # go on after Ctrl-C or a crash",
    statuses=(0, 1, 2, 3, 130, 141),
)

_HOW_TO_GO_ON = "the same command with --resume (and without --force) goes on"


def score(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Files of texts; - is standard input.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where rows go; default: standard output, as JSONL.")
    ] = None,
    output_format: Annotated[
        outputs.OutputFormat | None, typer.Option("--format", help="Format of the output; default: by its extension.")
    ] = None,
    input_format: Annotated[
        inputs.InputFormat,
        typer.Option(
            help="jsonl: a line is an object with the text in a field, or a string; text: a line is a text; "
            "auto: by extension."
        ),
    ] = "auto",
    field: Annotated[str, typer.Option(help="The field of an object that holds the text.")] = "text",
    keep: Annotated[
        str | None,
        typer.Option(help="Fields of an object to carry through, a,b; default: JSONL all of them, else id."),
    ] = None,
    text: Annotated[bool, typer.Option(help="Whether rows have the text.")] = True,
    tokens: Annotated[bool, typer.Option("--tokens", help="Add tokens and log_probs; not in CSV.")] = False,
    losses: Annotated[
        str | None,
        typer.Option(help="Add attention_NAME for each of entropy,sink,…: the mean over layers and heads."),
    ] = None,
    truncate: Annotated[bool, typer.Option("--truncate", help="Cut texts at the end of the model's context.")] = False,
    stride: Annotated[
        int | None, typer.Option(min=1, help="Score texts by windows so many tokens apart, whatever their length.")
    ] = None,
    server: Server = None,
    api_key: ApiKey = None,
    model: ModelName = None,
    batch: Annotated[int, typer.Option(min=1, max=256, help="Texts of one request.")] = 16,
    concurrency: Annotated[int, typer.Option(min=1, max=64, help="Requests to a server at once.")] = 4,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds that a request to a server may take.")] = 60.0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an output that was interrupted.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an output that is there.")] = False,
    part_rows: Annotated[int, typer.Option(min=1, help="Rows of each file in a Parquet directory.")] = 10_000,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no summary.")] = False,
) -> None:
    """Score texts from files: loss in nats per token, perplexity, bits per byte; a row for each line.

    Rows come in the order of the lines, and a line that cannot be scored gets a row with error. scored_tokens × loss
    are the nats of a text. Lines are read and rows written as it goes; a Parquet output is a directory of files.
    """
    format_ = outputs.format_of(output, output_format)
    names = tuple(filter(None, (losses or "").split(",")))
    kept = (
        None
        if keep is None and format_ == "jsonl"
        else tuple(filter(None, ("id" if keep is None else keep).split(",")))
    )
    plan = RowPlan(kept, text, tokens, names)
    options = plan.options() | ({"truncate": True} if truncate else {}) | ({} if stride is None else {"stride": stride})
    if tokens and format_ == "csv":
        raise CommandFailed("--tokens: CSV has no lists; write JSONL or Parquet")
    _check_options(options)
    total_bytes = inputs.check_inputs(files)
    _check_output(output, format_, files, resume=resume, force=force)
    sink = _output(output, format_, plan, part_rows)
    done = sink.resume() if resume else None
    lines = inputs.read_lines(files, input_format, field)
    done_bytes = skip(lines, done) if done else 0
    with _opened(server, model, timeout, api_key, quiet=quiet) as backend:

        def score_texts(texts: Sequence[str]) -> list[dict[str, Any]]:
            return backend.loss_text(texts, model=model if server else None, **options)

        try:
            if output is not None and force and output.exists():
                _delete(output)
            sink.start()
            shown = progress(total_bytes, done_bytes, quiet=quiet)
            several = concurrency if server else 1
            counts = run(lines, score_texts, sink, plan, shown, most_texts=batch, concurrency=several)
        except BrokenPipeError:
            raise OutputUnread from None
        except OSError as error:
            raise CommandFailed(f"{output or 'standard output'}: {error.strerror}") from None
        except CommandFailed as failed:
            how = f"; {_HOW_TO_GO_ON}" if failed.status == GAVE_UP and output is not None else ""
            raise CommandFailed(f"{failed}{how}", failed.status) from None
        _end(counts, output, quiet=quiet)


def _opened(server: str | None, model: str | None, timeout_s: float, api_key: str | None, *, quiet: bool) -> Backend:
    if not server and not quiet and sys.stderr.isatty():
        typer.echo(f"attnloss: loading {model or 'the default model'}", err=True)
    return open_backend(server, model, timeout_s=timeout_s, api_key=api_key)


def _check_options(options: dict[str, Any]) -> None:
    """What is wrong with the request whatever the text, told before anything is read."""
    from attnloss.registry import LOSSES
    from service.errors import ServiceError
    from service.settings import Settings
    from service.text.validate import text_loss_job

    for loss in options.get("losses", ()):
        if loss["name"] not in LOSSES:
            raise CommandFailed(f"--losses: there is no {loss['name']!r}; there are {', '.join(LOSSES)}")
    try:
        text_loss_job({"text": "a"} | options, Settings(models="default"), b"")
    except ServiceError as error:
        raise CommandFailed(error.detail) from None


def _check_output(
    output: Path | None, format_: outputs.OutputFormat, files: Sequence[str], *, resume: bool, force: bool
) -> None:
    if output is None:
        if resume or force or format_ == "parquet":
            reason = "Parquet" if format_ == "parquet" else "--resume" if resume else "--force"
            raise CommandFailed(f"{reason} needs a file to write to: -o FILE")
        return
    if resume and force:
        raise CommandFailed("--resume goes on with the output and --force replaces it: give one of them")
    if not output.parent.is_dir():
        raise CommandFailed(f"{output.parent}: no such directory")
    if not output.exists():
        return
    if any(name != inputs.STDIN and output.samefile(name) for name in files):
        raise CommandFailed(f"{output} is an input as well")
    if output.is_dir() and format_ != "parquet":
        raise CommandFailed(f"{output} is a directory")
    if not (resume or force):
        raise CommandFailed(f"{output} is there already: --resume goes on with it, --force replaces it")


def _output(output: Path | None, format_: outputs.OutputFormat, plan: RowPlan, part_rows: int) -> outputs.Output:
    if format_ == "csv":
        return outputs.CsvOutput(output, plan)
    if format_ == "jsonl" or output is None:
        return outputs.JsonlOutput(output, plan)
    from service.cli.bulk.parquet import ParquetOutput

    return ParquetOutput(output, plan, part_rows)


def _delete(output: Path) -> None:
    from service.cli.bulk.parquet import delete

    delete(output)


def _end(counts: Counts, output: Path | None, *, quiet: bool) -> None:
    """The summary, and the exit status where it is not 0."""
    told = f"{counts.scored} scored" + f", {counts.failed} failed" * bool(counts.failed)
    if counts.interrupted:
        how = "" if output is None else f"; {_HOW_TO_GO_ON}"
        typer.echo(f"attnloss: interrupted, {told}{how}", err=True)
        sys.stdout.flush()
        os._exit(INTERRUPTED)  # a request that runs on a thread would be waited for
    if not quiet:
        typer.echo(f"attnloss: {told}", err=True)
    if counts.failed:
        raise typer.Exit(1)
