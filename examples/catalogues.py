"""Parallel text that pip installs: the French translations that packages carry, as pairs for `examples.translate`.

A catalogue of gettext holds what a program says, in English and in another language: names of countries, languages and
currencies, labels, messages, sentences of help. Babel brings the names of Unicode's CLDR besides.

Sides are in lower case, words and punctuation apart. What a program puts in (`%s`, `{count}`, `${title}`) is one mark.
Texts of several sentences are cut where both sides have as many. Tags of style are dropped. Left out are pairs with
other markup or addresses, of more than 25 words, far longer on one side, and copies (most names of languages are the
same in both). Of pairs whose source has the same letters and digits the first is kept.

Pairs are parted by a hash of the words of the source alone, whatever their order, numbers and marks, so that no source
is on two sides, nor one that differs in a year, a number or a full stop. Sentences that share all words but one may
still be: `near_duplicates` counts them.
"""

import io
import re
import unicodedata
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackagePath, files

from babel import Locale
from babel.messages import Catalog
from babel.messages.mofile import read_mo
from babel.messages.pofile import read_po

LICENCES = {
    "Django": "BSD-3-Clause",
    "jupyterlab-language-pack-fr-FR": "BSD-3-Clause",
    "Trac": "BSD-3-Clause",
    "django-allauth": "MIT",
    "weblate-language-data": "MIT",
    "Babel": "BSD-3-Clause, names by Unicode-3.0",
    "pycountry": "LGPL-2.1, of Debian's iso-codes",
    "gramps": "GPL-2.0-or-later",
    "plone.app.locales": "GPL-2.0",
}
"""The packages whose translations are read, and under what they are given; nothing of them is in this repository."""

MARK = "◇"
MOST_WORDS = 25
PARTS = {"held out": (0, 5), "development": (5, 10), "training": (10, 100)}
"""Which hundredths of the pairs are what."""

_CATALOGUE = re.compile(r"(^|/)fr(_FR)?/LC_MESSAGES/[^/]*\.mo$")
_PLONE = re.compile(r"(^|/)fr/LC_MESSAGES/[^/]*\.po$")
_PUT_IN = re.compile(r"%\([^)]*\)[-#0-9.]*[a-zA-Z]|%(\d+\$)?[-#0-9.]*[a-zA-Z]\b|%\d|\$?\{[^{}]*\}|\[\[[^\]]*\]\]")
_LEFT_OUT = re.compile(r"[<>{}\\|=@]|://|www\.|&\w+;")
_ENDS = [re.compile(end) for end in (r"\n\s*\n", r"\n(?=\s*[-*•])", r"(?<=[.!?])\s+(?=[A-ZÀ-ÖØ-Þ◇])")]
_STYLE = re.compile(r"</?(a|b|br|code|dd|dl|dt|em|i|li|p|small|span|strong|tt|u|ul)\b[^<>]*>|'''|[`*]")
_WORD = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True)
class Pair:
    """A source and its translation, words apart, and the package that has them."""

    source: str
    target: str
    package: str

    @property
    def key(self) -> str:
        """What tells two sources apart: their letters and digits."""
        return " ".join(re.findall(r"\w+", self.source))

    @property
    def part(self) -> str:
        """Training, development or held out, by the words alone."""
        content = " ".join(sorted(set(re.findall(r"[^\W\d]+", self.source)))) or self.source
        place = zlib.crc32(content.encode()) % 100
        return next(name for name, (first, end) in PARTS.items() if first <= place < end)


def messages(package: str) -> Iterator[tuple[str, str]]:
    """Every text of a package's French catalogues with its translation, as they stand there."""
    if package == "Babel":
        yield from _names()
        return
    pattern = _PLONE if package == "plone.app.locales" else _CATALOGUE
    for path in sorted(files(package) or ()):
        if pattern.search(str(path)):
            yield from _texts(_read(path))


def _read(path: PackagePath) -> Catalog:
    whole = path.read_binary()
    if path.suffix == ".mo":
        return read_mo(io.BytesIO(whole))
    _, _, body = whole.partition(b"\n\n")  # the header has a date that Babel cannot read
    return read_po([line for line in body.decode().splitlines(keepends=True) if not line.startswith("#:")], locale="fr")


def _texts(catalogue: Catalog) -> Iterator[tuple[str, str]]:
    for message in catalogue:
        ids, strings = message.id, message.string
        if isinstance(ids, str) and isinstance(strings, str):
            yield _default(message.auto_comments) or ids, strings
        elif isinstance(ids, list | tuple) and isinstance(strings, list | tuple):
            yield from zip(ids, strings, strict=False)


def _default(comments: Iterable[str]) -> str | None:
    """Plone's catalogues have names for texts, and the English text in a comment."""
    found = re.search(r'Default: "(.*)"', " ".join(comments), re.DOTALL)
    return found[1].replace('\\"', '"').replace("\\n", "\n") if found else None


def _names() -> Iterator[tuple[str, str]]:
    english, french = Locale("en"), Locale("fr")
    for kind in ("languages", "territories", "scripts", "currencies", "variants"):
        translated = getattr(french, kind)
        yield from ((name, translated[code]) for code, name in getattr(english, kind).items() if code in translated)
    for zone, names in english.meta_zones.items():
        translated = french.meta_zones.get(zone, {}).get("long", {})
        yield from ((name, translated[kind]) for kind, name in names.get("long", {}).items() if kind in translated)


def tidy(text: str, package: str = "") -> str:
    """Lower case, words and punctuation apart."""
    text = unicodedata.normalize("NFC", text)
    if package == "gramps":
        text = text.replace("_", "")  # it precedes the letter that chooses a menu's entry
    return " ".join(_WORD.findall(text.replace("’", "'").lower()))


def sentences(source: str, target: str) -> list[tuple[str, str]]:
    """The pair, or those of its paragraphs, of its lines and of their sentences, where both sides have as many."""
    pairs = [(source, target)]
    for end in _ENDS:
        cut = [[[each for each in end.split(side) if each.strip()] for side in pair] for pair in pairs]
        pairs = [
            each
            for pair, (left, right) in zip(pairs, cut, strict=True)
            for each in (zip(left, right, strict=True) if len(left) == len(right) else [pair])
        ]
    return pairs


def usable(pair: Pair) -> bool:
    """Tell whether both sides are text, of like and modest length, and not the same."""
    lengths = [len(side.split()) for side in (pair.source, pair.target)]
    text = re.search(r"[^\W\d_]", pair.source) and re.search(r"[^\W\d_]", pair.target)
    return bool(text) and pair.source != pair.target and max(lengths) <= min(MOST_WORDS, 3 * min(lengths) + 2)


def pairs_of(package: str) -> Iterator[Pair]:
    """The usable pairs of one package."""
    for text, translation in messages(package):
        if text and translation:
            for source, target in sentences(text, translation):
                plain = [_PUT_IN.sub(MARK, _STYLE.sub("", side)) for side in (source, target)]
                pair = Pair(*(tidy(side, package) for side in plain), package)
                if not _LEFT_OUT.search("".join(plain)) and usable(pair):
                    yield pair


def distinct(pairs: Iterable[Pair]) -> list[Pair]:
    """The first of the pairs whose sources have the same letters and digits."""
    kept: dict[str, Pair] = {}
    for pair in pairs:
        kept.setdefault(pair.key, pair)
    return list(kept.values())


def read() -> dict[str, list[Pair]]:
    """All pairs by part, each part in an order that is mixed and always the same."""
    everything = distinct(pair for package in LICENCES for pair in pairs_of(package))
    everything.sort(key=lambda pair: zlib.crc32(pair.key.encode()[::-1]))
    return {part: [pair for pair in everything if pair.part == part] for part in PARTS}


def near_duplicates(held_out: Iterable[Pair], training: Iterable[Pair]) -> float:
    """The share of held-out sources, of three words or more, that are a training source but for one word."""
    known = {form for pair in training for form in _with_a_gap(pair.source)}
    asked = [pair.source for pair in held_out if len(pair.source.split()) >= 3]
    return sum(any(form in known for form in _with_a_gap(source)) for source in asked) / max(len(asked), 1)


def _with_a_gap(source: str) -> Iterator[str]:
    words = source.split()
    for place in range(len(words) if len(words) >= 3 else 0):
        yield " ".join([*words[:place], "…", *words[place + 1 :]])
