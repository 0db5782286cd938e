"""Where rows go: JSONL, CSV, or a directory of Parquet files; complete rows of an interrupted run are found again."""

import csv
import io
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, Protocol

from service.cli.bulk.rows import Row, RowPlan, flat
from service.cli.failure import CommandFailed

OutputFormat = Literal["jsonl", "csv", "parquet"]

_BY_SUFFIX: dict[str, OutputFormat] = {".csv": "csv", ".parquet": "parquet"}


@dataclass(frozen=True)
class Done:
    """What an output holds already: complete rows, and where the last of them came from."""

    rows: int
    file: str
    line: int
    text: str | None


class Output(Protocol):
    """Takes rows in order. Once `write` has returned, they outlive the process (Parquet: once a part is full)."""

    def resume(self) -> Done | None:
        """Keep the complete rows of an output that is there, and drop what was half written."""

    def start(self) -> None:
        """Begin, or go on after `resume`."""

    def write(self, rows: Sequence[Row]) -> None:
        """Append rows."""

    def close(self) -> None:
        """Write what is left."""


def format_of(path: Path | None, given: OutputFormat | None) -> OutputFormat:
    """The format that was asked for, else that of the file's name."""
    return given or _BY_SUFFIX.get("" if path is None else path.suffix.lower(), "jsonl")


class JsonlOutput:
    """A JSON object a line. Without a path: standard output."""

    _quoted = False

    def __init__(self, path: Path | None, plan: RowPlan) -> None:
        self.path, self.plan = path, plan
        self._file: BinaryIO = sys.stdout.buffer

    def resume(self) -> Done | None:
        """See Output."""
        assert self.path is not None
        if not self.path.exists():
            return None
        records, end_bytes, last = _complete(self.path, quoted=self._quoted)
        try:
            done = self._done(records, last)
        except (ValueError, KeyError, TypeError, StopIteration, csv.Error):
            raise CommandFailed(f"{self.path} was not written by attnloss score with these options") from None
        os.truncate(self.path, end_bytes)
        return done

    def start(self) -> None:
        """See Output."""
        if self.path is not None:
            self._file = self.path.open("ab")

    def write(self, rows: Sequence[Row]) -> None:
        """See Output."""
        self._append("".join(map(self._encode, rows)))

    def close(self) -> None:
        """See Output."""
        if self.path is not None:
            self._file.close()

    def _append(self, written: str) -> None:
        self._file.write(written.encode())
        self._file.flush()

    def _encode(self, row: Row) -> str:
        encoded = json.dumps(row, ensure_ascii=False)
        return (encoded if encoded.isascii() or _is_unicode(encoded) else json.dumps(row)) + "\n"

    def _done(self, records: int, last: bytes) -> Done | None:
        if not records:
            return None
        row = json.loads(last)
        return Done(records, str(row["file"]), int(row["line"]), row.get("text"))


class CsvOutput(JsonlOutput):
    """A header and a row a record, as RFC 4180 has it but for line ends of one byte."""

    _quoted = True

    def start(self) -> None:
        """See Output."""
        super().start()
        if self.path is None or self.path.stat().st_size == 0:
            self._append(_record(self.plan.columns))

    def _encode(self, row: Row) -> str:
        return _record(
            [row.get(name) if name in ("line", "scored_tokens") else _cell(row.get(name)) for name in self.plan.columns]
        )

    def _done(self, records: int, last: bytes) -> Done | None:
        assert self.path is not None
        if not records:
            return None
        csv.field_size_limit(sys.maxsize)
        with self.path.open(encoding="utf-8", newline="") as file:
            header = next(csv.reader(file))
        if header != self.plan.columns:
            raise ValueError
        if records == 1:
            return None
        row = dict(zip(header, next(csv.reader(io.StringIO(last.decode(), newline=""))), strict=True))
        return Done(records - 1, row["file"], int(row["line"]), row.get("text") or None)


def _cell(value: object) -> object:
    return repr(value) if isinstance(value, float) else _plain(flat(value))


def _plain(value: str | None) -> str | None:
    return value if value is None or _is_unicode(value) else value.encode(errors="replace").decode()


def _record(values: Sequence[object]) -> str:
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerow(values)
    return written.getvalue()


def _is_unicode(written: str) -> bool:
    """False if a lone surrogate is in it, which only an escape can hold."""
    try:
        written.encode()
    except UnicodeEncodeError:
        return False
    return True


def _complete(path: Path, *, quoted: bool) -> tuple[int, int, bytes]:
    """Number of complete records, where they end, and the last; within quotes a line end is no end of a record."""
    records = end_bytes = position = quotes = 0
    last = record = b""
    with path.open("rb") as file:
        for line in file:
            position += len(line)
            record += line
            quotes += line.count(b'"') if quoted else 0
            if line.endswith(b"\n") and quotes % 2 == 0:
                records, end_bytes, last, record = records + 1, position, record, b""
    return records, end_bytes, last
