"""Lines of files as texts to score."""

import json
import math
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal, NoReturn

from service.cli.failure import CommandFailed

InputFormat = Literal["auto", "jsonl", "text"]

STDIN = "-"
MOST_LINE_BYTES = 16 << 20
_JSONL_SUFFIXES = (".jsonl", ".ndjson", ".jsonlines")
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Line:
    """One line that holds a text, or why it holds none. `end_bytes` is its end, counted over all files."""

    file: str
    number: int
    end_bytes: int
    text: str | None
    fields: dict[str, Any] = field(default_factory=dict)
    error: str | None = None


def check_inputs(files: Sequence[str]) -> int | None:
    """Bytes of all files, or None if one of them has no size. Raises CommandFailed for one that cannot be read."""
    if files.count(STDIN) > 1:
        raise CommandFailed("standard input (-) is given twice")
    sizes: list[int | None] = []
    for name in files:
        if name == STDIN:
            sizes.append(None)
            continue
        try:
            with Path(name).open("rb"):
                sizes.append(Path(name).stat().st_size if Path(name).is_file() else None)
        except OSError as error:
            raise CommandFailed(f"{name}: {error.strerror}") from None
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None


def read_lines(files: Sequence[str], input_format: InputFormat = "auto", text_field: str = "text") -> Iterator[Line]:
    """The lines of all files that are not blank; no more than one is in memory. Raises CommandFailed."""
    before_bytes = 0
    for name in files:
        is_jsonl = input_format == "jsonl" or (input_format == "auto" and Path(name).suffix.lower() in _JSONL_SUFFIXES)
        try:
            with _open(name) as file:
                for number, raw, error in _raw_lines(file):
                    before_bytes += raw if isinstance(raw, int) else len(raw)
                    if isinstance(raw, int):
                        yield Line(name, number, before_bytes, None, error=error)
                        continue
                    if number == 1:
                        raw = raw.removeprefix(b"\xef\xbb\xbf")
                    if raw.strip():
                        yield _line(name, number, before_bytes, raw.rstrip(b"\r\n"), is_jsonl, text_field)
        except OSError as error:
            raise CommandFailed(f"{name}: {error.strerror}") from None


def _open(name: str) -> BinaryIO:
    return open(sys.stdin.fileno(), "rb", closefd=False) if name == STDIN else Path(name).open("rb")


def _raw_lines(file: BinaryIO) -> Iterator[tuple[int, bytes | int, str | None]]:
    """Number and bytes of each line; of one that is too long, its size and an error instead."""
    number = 0
    while raw := file.readline(MOST_LINE_BYTES + 1):
        number += 1
        if len(raw) <= MOST_LINE_BYTES:
            yield number, raw, None
            continue
        size = len(raw)
        while raw and not raw.endswith(b"\n"):
            raw = file.readline(MOST_LINE_BYTES)
            size += len(raw)
        yield number, size, f"the line takes {size} bytes, at most {MOST_LINE_BYTES} are read"


def _line(name: str, number: int, end_bytes: int, raw: bytes, is_jsonl: bool, text_field: str) -> Line:
    fields: dict[str, Any] = {}
    text: str | None = None
    error = None
    try:
        decoded = raw.decode()
        value = json.loads(decoded, parse_constant=_refuse, parse_float=_finite) if is_jsonl else decoded
        if isinstance(value, dict):
            fields = {key: each for key, each in value.items() if key != text_field}
        text = _text_of(value, text_field)
    except UnicodeDecodeError as wrong:
        error = f"not UTF-8: byte 0x{raw[wrong.start]:02x} at {wrong.start}"
    except json.JSONDecodeError as wrong:
        error = f"not JSON: {wrong.msg} at column {wrong.colno}"
    except RecursionError:
        error = "not JSON: nested too deep"
    except ValueError as wrong:
        error = str(wrong)
    return Line(name, number, end_bytes, text, fields, error)


def _text_of(value: Any, text_field: str) -> str:
    if isinstance(value, dict):
        if text_field not in value:
            raise ValueError(f"the object has no field {text_field!r}")
        text = value[text_field]
        if not isinstance(text, str):
            raise ValueError(f"{text_field}: expected a string, came {_kind(text)}")
    elif isinstance(value, str):
        text = value
    else:
        raise ValueError(f"expected an object or a string, came {_kind(value)}")
    if not text:
        raise ValueError("the text is empty")
    if surrogate := _SURROGATE.search(text):
        raise ValueError(f"U+{ord(surrogate.group()):04X} in the text is a lone surrogate")
    return text


def _kind(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    kinds: dict[type, str] = {list: "a list", dict: "an object"}
    return kinds.get(type(value), "a number")


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"not JSON: {constant} is no JSON number")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"not JSON: {digits} is beyond double")
    return value
