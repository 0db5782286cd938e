"""A run: lines to score, rows written in their order, and where an earlier run left off."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from service.cli.bulk.flight import Flight, Score, Scored, batches
from service.cli.bulk.inputs import Line
from service.cli.bulk.interruption import Interruption
from service.cli.bulk.outputs import Done, Output
from service.cli.bulk.progress import Progress
from service.cli.bulk.rows import RowPlan
from service.cli.failure import CommandFailed


@dataclass
class Counts:
    """What a run has written."""

    scored: int = 0
    failed: int = 0
    interrupted: bool = False


def skip(lines: Iterator[Line], done: Done) -> int:
    """Pass the lines that have rows already; where the last of them ends. Raises CommandFailed for other inputs."""
    passed = 0
    last: Line | None = None
    for line in islice(lines, done.rows):
        passed, last = passed + 1, line
    if last is None or passed < done.rows:
        raise CommandFailed(f"the output has {done.rows} rows, and these inputs only {passed} lines with text")
    if (last.file, last.number) != (done.file, done.line):
        came = f"of line {done.line} of {done.file}, and these inputs have line {last.number} of {last.file} there"
        raise CommandFailed(f"row {done.rows} of the output is {came}")
    if None not in (done.text, last.text) and done.text != last.text:
        raise CommandFailed(f"line {done.line} of {done.file} holds another text than row {done.rows} of the output")
    return last.end_bytes


def run(
    lines: Iterator[Line],
    score: Score,
    output: Output,
    plan: RowPlan,
    progress: Progress,
    *,
    most_texts: int,
    concurrency: int,
) -> Counts:
    """Score all lines. Ctrl-C ends it after the row in hand; what has come back by then is written."""
    counts = Counts()
    flight = Flight(batches(lines, most_texts), score, concurrency)

    def write(scored: Scored) -> None:
        results = [(line, None, came) if isinstance(came, str) else (line, came, None) for line, came in scored]
        output.write([plan.row(*each) for each in results])
        flight.settle()
        failed = sum(result is None for _, result, _ in results)
        counts.failed += failed
        counts.scored += len(results) - failed

    with Interruption() as interruption:
        try:
            with progress:
                for scored in flight:
                    with interruption.held():
                        write(scored)
                        progress.advance(len(scored), scored[-1][0].end_bytes)
        except KeyboardInterrupt:
            counts.interrupted = True
            with interruption.held():
                for scored in flight.landed():
                    write(scored)
        finally:
            flight.abandon()
            output.close()
    return counts
