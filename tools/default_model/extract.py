"""Paragraphs of prose out of the formats that packages hold."""

import gzip
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Final

from default_model.sources import Form

_BLOCKS: Final = re.compile(r"p|li|dd|dt|blockquote|h[1-6]|div|td|th|section|article|table|ul|ol|dl|br")
_SKIPPED: Final = re.compile(r"pre|script|style|head|nav|footer|header|form|svg|math|title|note")
_POD_CODE: Final = re.compile(r"([A-Z])<(?:<+\s(.*?)\s>+|([^<>]*))>", re.DOTALL)
_STRING_VECTOR: Final = 16
_STRING: Final = 9


class _Html(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.blocks: list[list[str]] = [[]]
        self._skipping: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if _SKIPPED.fullmatch(tag):
            self._skipping.append(tag)
        elif _BLOCKS.fullmatch(tag):
            self.blocks.append([])

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if _BLOCKS.fullmatch(tag):
            self.blocks.append([])

    def handle_endtag(self, tag: str) -> None:
        if _SKIPPED.fullmatch(tag) and tag in self._skipping:
            while self._skipping.pop() != tag:
                pass
        elif _BLOCKS.fullmatch(tag):
            self.blocks.append([])

    def handle_data(self, data: str) -> None:
        if not self._skipping:
            self.blocks[-1].append(data)


def html_paragraphs(markup: str) -> list[str]:
    """Text of the block elements; code listings, headers and navigation are left out."""
    parser = _Html()
    parser.feed(markup)
    parser.close()
    return ["".join(block) for block in parser.blocks if block]


def blank_line_paragraphs(text: str) -> list[str]:
    """Runs of lines between blank lines."""
    return re.split(r"\n[ \t]*\n", text)


def _read_text(path: Path) -> str:
    raw = path.read_bytes()
    if raw[:2] == b"\x1f\x8b":
        raw = gzip.decompress(raw)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _html(path: Path) -> Iterator[list[str]]:
    yield html_paragraphs(_read_text(path))


def _plain(path: Path) -> Iterator[list[str]]:
    yield blank_line_paragraphs(_read_text(path))


def _markdown(path: Path) -> Iterator[list[str]]:
    text = re.sub(r"```.*?```|<!--.*?-->", "", _read_text(path), flags=re.DOTALL)
    text = re.sub(r"\[([^\]]*)\](?:\([^)]*\)|\[[^\]]*\])", r"\1", text)
    text = re.sub(r"^(?:\[[^\]]+\]:.*|#+ .*|\|.*)$", "", text, flags=re.MULTILINE)
    text = re.sub(r"^ *[*+-] ", "\n", text, flags=re.MULTILINE)
    yield blank_line_paragraphs(re.sub(r"[`*\\]|</?\w+>", "", text))


def _pod(path: Path) -> Iterator[list[str]]:
    def inner(match: re.Match[str]) -> str:
        content = match[2] if match[2] is not None else match[3]
        if match[1] == "E":
            return {"lt": "<", "gt": ">", "sol": "/", "verbar": "|"}.get(content, "")
        if match[1] in "XZ":
            return ""
        return content.split("|")[0] if match[1] == "L" else content

    kept = []
    for paragraph in blank_line_paragraphs(_read_text(path)):
        if paragraph.startswith(("=", " ", "\t")):
            continue
        for _ in range(4):
            paragraph = _POD_CODE.sub(inner, paragraph)
        kept.append(paragraph)
    yield kept


def _dict(path: Path) -> Iterator[list[str]]:
    text = re.sub(r"[{}]", "", _read_text(path))
    for entry in re.split(r"\n\n(?=\S)", text):
        yield blank_line_paragraphs(entry)


def _fortune(path: Path) -> Iterator[list[str]]:
    for saying in _read_text(path).split("\n%\n"):
        yield blank_line_paragraphs(re.sub(r"\n\s*--.*\Z", "", saying, flags=re.DOTALL))


def _sword(path: Path) -> Iterator[list[str]]:
    packed = path.read_bytes()
    index = path.with_name(path.name[:-1] + "s").read_bytes()
    for offset, size, _ in struct.iter_unpack("<III", index):
        text = zlib.decompress(packed[offset : offset + size]).decode("utf-8", "replace")
        yield html_paragraphs(re.sub(r"<(?:div|title|chapter|lb|lg)\b[^>]*/?>", "<br/>", re.sub(r"\s+", " ", text)))


def _rdb(path: Path) -> Iterator[list[str]]:
    packed = path.read_bytes()
    while packed:
        unpacker = zlib.decompressobj()
        lines = list(_r_strings(unpacker.decompress(packed[4:])))
        packed = unpacker.unused_data
        text = "\n".join(lines).replace("\r", "")
        text = re.split(r"\*\*\* ?END OF TH", re.split(r"\*\*\* ?START OF TH.*", text)[-1])[0]
        yield blank_line_paragraphs(text)


def _r_strings(data: bytes) -> Iterator[str]:
    """Strings of the first character vector in R's serialization."""
    position = 2 + 3 * 4
    length = struct.unpack_from(">I", data, position)[0]
    position += 4 + length
    flags, count = struct.unpack_from(">II", data, position)
    if flags & 0xFF != _STRING_VECTOR:
        raise ValueError("the R data holds no character vector")
    position += 8
    for _ in range(count):
        flags, length = struct.unpack_from(">Ii", data, position)
        if flags & 0xFF != _STRING:
            raise ValueError("the R data breaks off inside a character vector")
        position += 8
        yield data[position : position + max(length, 0)].decode("utf-8", "replace")
        position += max(length, 0)


def _wordnet(path: Path) -> Iterator[list[str]]:
    """Each synset as "word: meaning." and each of its example sentences as a text of its own."""
    for line in _read_text(path).splitlines():
        if line.startswith("  ") or "|" not in line:
            continue
        fields, gloss = line.split("|", 1)
        columns = fields.split()
        words = [columns[4 + 2 * k].replace("_", " ").split("(")[0] for k in range(int(columns[3], 16))]
        examples = re.findall(r'"([^"]+)"', gloss)
        meaning = re.sub(r'[;,]?\s*"[^"]*".*', "", gloss).strip(" ;")
        yield [f"{', '.join(words[:3])}: {meaning}."]
        for example in examples:
            sentence = example.strip()
            if sentence.count(" ") >= 2:
                ending = "" if sentence[-1] in ".?!" else "."
                yield [sentence[0].upper() + sentence[1:] + ending]


READERS: Final[dict[Form, Callable[[Path], Iterator[list[str]]]]] = {
    "dict": _dict,
    "fortune": _fortune,
    "html": _html,
    "markdown": _markdown,
    "plain": _plain,
    "pod": _pod,
    "rdb": _rdb,
    "sword": _sword,
    "wordnet": _wordnet,
}
