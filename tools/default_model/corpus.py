"""From Debian packages to cleaned, deduplicated documents, a share of them held out."""

import hashlib
import json
import re
import shutil
import subprocess
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.progress import track

from default_model.extract import READERS
from default_model.sources import SOURCES, Source

HELD_OUT_PERCENT: Final = 2
DOCUMENT_CHARACTERS: Final = 12_000
_QUOTES: Final = str.maketrans(
    {"‘": "'", "’": "'", "“": '"', "”": '"', "\u00a0": " ", "¶": "", "\u200b": "", "\u00ad": ""}
)
_PROSE_SHARE: Final = 0.8
_FEWEST_WORDS: Final = 3
_DROPPED: Final = re.compile(r"\b(?:nigg|fagg?ot|kike|cunt)", re.IGNORECASE)
_BOILERPLATE: Final = re.compile(
    r"project gutenberg|all rights reserved|^copyright\b|table of contents|permission is hereby granted|© ",
    re.IGNORECASE,
)


class CorpusError(Exception):
    """The text could not be fetched or read."""


@dataclass(frozen=True, slots=True)
class Document:
    """Paragraphs, one a line, of a page, chapter or entry."""

    source: str
    text: str

    @property
    def held_out(self) -> bool:
        """Whether evaluation keeps the document away from training."""
        return _hash_of(self.text) % 100 < HELD_OUT_PERCENT


def prepare(work: Path) -> None:
    """Writes `train.jsonl`, `heldout.jsonl` and `sources.json` into the folder."""
    packages = work / "packages"
    packages.mkdir(parents=True, exist_ok=True)
    seen: set[int] = set()
    report = []
    with (work / "train.jsonl").open("w") as train, (work / "heldout.jsonl").open("w") as heldout:
        for source in track(SOURCES, "reading packages"):
            version, root = _fetched(source.package, packages)
            documents = list(_capped(_documents(source, root, seen), source.cap_mb))
            for document in documents:
                line = json.dumps({"source": document.source, "text": document.text}, ensure_ascii=False)
                (heldout if document.held_out else train).write(line + "\n")
            shutil.rmtree(root)
            n_bytes = sum(len(document.text.encode()) for document in documents)
            if not n_bytes:
                raise CorpusError(f"no text found in {source.package} {version}: its layout changed; mend its paths")
            report.append(
                {
                    "package": source.package,
                    "version": version,
                    "licence": source.licence,
                    "about": source.about,
                    "documents": len(documents),
                    "bytes": n_bytes,
                    "heldout_bytes": sum(len(each.text.encode()) for each in documents if each.held_out),
                    "weight": source.weight,
                }
            )
    (work / "sources.json").write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")


def read_documents(path: Path) -> Iterator[Document]:
    """Documents that `prepare` wrote."""
    try:
        with path.open() as lines:
            for line in lines:
                yield Document(**json.loads(line))
    except FileNotFoundError:
        raise CorpusError(f"{path} is missing: run the stage `data` first") from None


def _fetched(package: str, packages: Path) -> tuple[str, Path]:
    """Version and unpacked root of a Debian package, downloaded once."""
    archives = sorted(packages.glob(f"{package}_*.deb"))
    if not archives:
        _ran(["apt-get", "download", "-qq", package], packages)
        archives = sorted(packages.glob(f"{package}_*.deb"))
    if not archives:
        raise CorpusError(f"apt-get downloaded no package {package}")
    root = packages / f"{package}.unpacked"
    _ran(["dpkg-deb", "-x", archives[-1].name, root.name], packages)
    return _ran(["dpkg-deb", "-f", archives[-1].name, "Version"], packages).strip(), root


def _ran(command: list[str], folder: Path) -> str:
    try:
        return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout
    except FileNotFoundError:
        raise CorpusError(f"`{command[0]}` is missing: this stage needs a Debian system") from None
    except subprocess.CalledProcessError as error:
        lines = [line for line in error.stderr.splitlines() if line.strip()]
        raise CorpusError(f"`{' '.join(command)}` failed: {lines[-1] if lines else error}") from None


def _documents(source: Source, root: Path, seen: set[int]) -> Iterator[Document]:
    """Documents with paragraphs that occur nowhere before."""
    for pattern in source.paths:
        for path in sorted(root.glob(pattern)):
            if not path.is_file():
                continue
            for paragraphs in READERS[source.form](path):
                for text in _parts(_new_prose(paragraphs, seen)):
                    yield Document(source.package, text)


def _new_prose(paragraphs: Iterable[str], seen: set[int]) -> Iterator[str]:
    for raw in paragraphs:
        text = cleaned(raw)
        if not is_prose(text):
            continue
        digest = _hash_of(re.sub(r"\W+", " ", text.lower()))
        if digest not in seen:
            seen.add(digest)
            yield text


def cleaned(text: str) -> str:
    """The text on one line, in normal form C, with straight quotes."""
    text = unicodedata.normalize("NFC", text).translate(_QUOTES)
    return re.sub(r"\s+", " ", re.sub(r"\b_([A-Za-z][^_]*[A-Za-z])_\b", r"\1", text)).strip()


def is_prose(text: str) -> bool:
    """Whether the paragraph reads as sentences rather than as code, tables or boilerplate."""
    if text.count(" ") < _FEWEST_WORDS - 1 or _DROPPED.search(text) or _BOILERPLATE.search(text):
        return False
    letters = sum(character.isascii() and (character.isalpha() or character == " ") for character in text)
    if letters < _PROSE_SHARE * len(text) or max(map(len, text.split())) > 60:
        return False
    return text[-1] in ".?!:;,\"')" or len(text) > 40


def _parts(paragraphs: Iterable[str]) -> Iterator[str]:
    """Paragraphs gathered into documents of a bounded size."""
    part: list[str] = []
    for paragraph in paragraphs:
        part.append(paragraph)
        if sum(map(len, part)) > DOCUMENT_CHARACTERS:
            yield "\n".join(part)
            part = []
    if part:
        yield "\n".join(part)


def _capped(documents: Iterable[Document], cap_mb: float) -> Iterator[Document]:
    """The documents, or a hash-ordered choice of them where they exceed the cap."""
    every = list(documents)
    if sum(len(document.text) for document in every) <= cap_mb * 1e6:
        yield from every
        return
    room = cap_mb * 1e6
    for document in sorted(every, key=lambda each: _hash_of(each.text[::-1])):
        room -= len(document.text)
        if room < 0:
            return
        yield document


def _hash_of(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())
