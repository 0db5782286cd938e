"""Rows as a directory of Parquet files, each whole or not there: pyarrow, pandas and DuckDB read it as one."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from service.cli.bulk.outputs import Done
from service.cli.bulk.rows import Row, RowPlan, flat
from service.cli.failure import CommandFailed

PART_EVERY_S = 60.0
_PARTIAL = ".partial"


class ParquetOutput:
    """A part is written when it has `part_rows` rows or is a minute old; a killed run loses the part that it was at.

    Raises:
        CommandFailed: pyarrow is not installed.

    """

    def __init__(self, path: Path, plan: RowPlan, part_rows: int) -> None:
        try:
            import pyarrow as pa  # type: ignore[import-untyped]
            import pyarrow.parquet  # type: ignore[import-untyped]
        except ImportError:
            raise CommandFailed("Parquet needs pyarrow: pip install 'attnloss[parquet]'") from None
        self._arrow, self._parquet = pa, pyarrow.parquet
        self.path, self.plan, self.part_rows = path, plan, part_rows
        self._rows: list[Row] = []
        self._parts = 0
        self._began_s = time.monotonic()
        lists = {"tokens": pa.list_(pa.string()), "log_probs": pa.list_(pa.float64())}
        whole = ("line", "scored_tokens")
        self._strings = {"file", "text", "error", *map(plan.kept_as, plan.kept or ())}
        self._schema = pa.schema(
            [
                (
                    name,
                    pa.int64()
                    if name in whole
                    else pa.string()
                    if name in self._strings
                    else lists.get(name, pa.float64()),
                )
                for name in plan.columns
            ]
        )

    def resume(self) -> Done | None:
        """See Output."""
        if not self.path.exists():
            return None
        if not self.path.is_dir():
            raise CommandFailed(f"{self.path} is one file, and only a directory of parts can be continued")
        self._delete_partial()
        parts = self._found()
        self._parts = len(parts)
        if not parts:
            return None
        files = [self._parquet.ParquetFile(part) for part in parts]
        if any(file.schema_arrow.names != self._schema.names for file in files):
            raise CommandFailed(f"{self.path} was not written by attnloss score with these options")
        names = [name for name in ("file", "line", "text") if name in self._schema.names]
        last: dict[str, Any] = files[-1].read(columns=names).slice(files[-1].metadata.num_rows - 1).to_pylist()[0]
        rows = sum(file.metadata.num_rows for file in files)
        return Done(rows, last["file"], last["line"], last.get("text"))

    def start(self) -> None:
        """See Output."""
        self.path.mkdir(exist_ok=True)

    def write(self, rows: Sequence[Row]) -> None:
        """See Output."""
        self._rows += rows
        while len(self._rows) >= self.part_rows:
            self._write_part(self.part_rows)
        if self._rows and time.monotonic() - self._began_s > PART_EVERY_S:
            self._write_part(len(self._rows))

    def close(self) -> None:
        """See Output."""
        if self._rows or not self._parts:
            self._write_part(len(self._rows))

    def _write_part(self, count: int) -> None:
        table = self._arrow.Table.from_pylist([self._cells(row) for row in self._rows[:count]], self._schema)
        part = self.path / f"part-{self._parts:06d}.parquet"
        partial = part.with_name(f".{part.name}{_PARTIAL}")
        self._parquet.write_table(table, partial, compression="zstd")
        partial.rename(part)
        self._parts += 1
        self._rows = self._rows[count:]
        self._began_s = time.monotonic()

    def _cells(self, row: Row) -> Row:
        return {
            name: _encodable(flat(value)) if name in self._strings else value
            for name, value in row.items()
            if name in self._schema.names
        }

    def _found(self) -> list[Path]:
        parts = sorted(self.path.glob("part-*.parquet"))
        if [part.name for part in parts] != [f"part-{i:06d}.parquet" for i in range(len(parts))]:
            raise CommandFailed(f"{self.path}: a part is missing between the first and the last")
        return parts

    def _delete_partial(self) -> None:
        for partial in self.path.glob(f".part-*{_PARTIAL}"):
            partial.unlink()


def delete(path: Path) -> None:
    """Delete an output of before. Raises CommandFailed if something else is in the directory."""
    if not path.is_dir():
        path.unlink()
        return
    strangers = [each for each in path.iterdir() if not each.name.startswith(("part-", ".part-"))]
    if strangers:
        raise CommandFailed(f"{path} holds {strangers[0].name}, which is no part of an output; not deleted")
    for each in path.iterdir():
        each.unlink()
    path.rmdir()


def _encodable(value: str | None) -> str | None:
    return None if value is None else value.encode(errors="replace").decode()
