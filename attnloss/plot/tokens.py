"""Tokens of any language as labels: white space seen, control characters harmless, every glyph in some font."""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from unicodedata import combining, east_asian_width

from matplotlib import font_manager

SANS, MONO = "DejaVu Sans", "DejaVu Sans Mono"
"""Come with matplotlib, so that a picture is the same on every machine."""

_FALLBACKS = (
    *(
        f"Noto Sans {name}"
        for name in ("CJK JP", "CJK SC", "CJK KR", "JP", "SC", "KR", "Devanagari", "Thai", "Bengali")
    ),
    *("Source Han Sans", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei", "Droid Sans Fallback", "IPAexGothic"),
    *("PingFang SC", "Hiragino Sans", "Apple SD Gothic Neo", "Microsoft YaHei", "Yu Gothic", "Malgun Gothic"),
    *("Nirmala UI", "Leelawadee UI", "Segoe UI", "Segoe UI Symbol", "Segoe UI Emoji", "Noto Emoji", "Symbola"),
    *("FreeSans", "FreeSerif", "Unifont", "Arial Unicode MS"),
)
_SEEN = {" ": "␣", "\n": "↵", "\t": "⇥", "\u00a0": "␣", "\u3000": "␣"}
_MISSING = "□"
LONGEST = 18


def visible(token: str, longest: int = LONGEST) -> str:
    """Write a token so that it shows: ␣ for a space, ↵ for a new line, ∅ for nothing, others escaped; cut by …."""
    shown = "".join(_character(c) for c in token) or "∅"
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"


def _character(character: str) -> str:
    if character in _SEEN:
        return _SEEN[character]
    return character if character.isprintable() else character.encode("unicode_escape", "replace").decode()


def columns(text: str) -> int:
    """Count the columns of a text in a font of one width: two for a wide character, none for an accent."""
    return sum(0 if combining(c) else 1 + (east_asian_width(c) in "WF") for c in text)


def drawable(text: str) -> str:
    """Replace characters that no font of `families` has by □: drawing them would warn."""
    fonts = (SANS, *_installed())
    return "".join(c if any(ord(c) in _characters(font) for font in fonts) else _MISSING for c in text)


def families(texts: Iterable[str], first: str = SANS) -> list[str]:
    """List the fonts that draw these texts, the first of those that have it for each character.

    The last is for viewers of an SVG whose text is text, which may have none of them.
    """
    missing = {c for text in texts for c in text if ord(c) not in _characters(first)}
    found = [first]
    for font in (SANS, *_installed()):
        if has := {c for c in missing if ord(c) in _characters(font)}:
            found.append(font)
            missing -= has
    return [*found, "sans-serif" if first == SANS else "monospace"]


@cache
def _installed() -> tuple[str, ...]:
    known = set(font_manager.get_font_names())
    return tuple(font for font in _FALLBACKS if font in known)


@cache
def _characters(family: str) -> frozenset[int]:
    return frozenset(font_manager.get_font(font_manager.findfont(family)).get_charmap())


def thinned(tokens: Sequence[str], most: int) -> Iterator[tuple[int, str]]:
    """Choose at most so many labels, evenly; those that are left say which token they are."""
    step = -(-len(tokens) // max(most, 1))
    for at in range(0, len(tokens), step):
        label = drawable(visible(tokens[at]))
        yield at, label if step == 1 else f"{label}  {at}"


def round_steps(count: int, most: int) -> range:
    """Choose at most so many indexes at a round distance: 1, 2 or 5 times a power of ten."""
    step, factors = 1, (2, 2.5, 2)
    for turn in range(60):
        if -(-count // step) <= most:
            break
        step = int(step * factors[turn % 3])
    return range(0, count, step)
