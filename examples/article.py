"""Puts the numbers of the examples into docs/article.md, between comments that name them.

`<!-- NAME: numbers -->` … `<!-- end -->` holds the table of an example's findings, `<!-- NAME: first -->` … its first
number alone.
"""

import re
from collections.abc import Sequence

from examples.study import ROOT, Example, Run, name_of

PAGE = ROOT / "docs" / "article.md"
FIGURES = ROOT / "docs" / "images" / "article"


def table(example: Example, runs: Sequence[Run]) -> str:
    """The findings as a Markdown table, and where they were made."""
    rows = "".join(f"| {what} | {number} |\n" for what, number in example.findings(runs).items())
    made = sorted({tuple(sorted(run.made.items())) for run in runs})
    where = "; ".join(f"{of['processor']}, torch {of['torch']}, commit {of['commit']}" for of in map(dict, made))
    minutes = sum(run.took_s for run in runs) / 60
    took = f"{minutes:.0f} minutes" if minutes >= 1.5 else f"{60 * minutes:.0f} seconds"
    return f"| | |\n|---|---|\n{rows}\n{len(runs)} runs, {took} of one core: {where}."


def filled(page: str, example: Example, runs: Sequence[Run]) -> str:
    """The page with this example's numbers in all their places."""
    first = next(iter(example.findings(runs).values()))
    for kind, text in (("numbers", f"\n{table(example, runs)}\n"), ("first", first)):
        opening = re.escape(f"<!-- {name_of(example)}: {kind} -->")
        page = re.sub(rf"({opening}).*?(<!-- end -->)", lambda m, text=text: m[1] + text + m[2], page, flags=re.DOTALL)
    return page


def fill(example: Example, runs: Sequence[Run]) -> None:
    """Write the numbers into the page."""
    PAGE.write_text(filled(PAGE.read_text(), example, runs))
