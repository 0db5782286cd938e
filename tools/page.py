"""Puts what a program found out between the two comments of a page that name the place."""

from pathlib import Path


def put_into(page: Path, figures: str) -> None:
    """Replace the figures of a page. Raises ValueError if it has no place for them."""
    before, begin, rest = page.read_text().partition("<!-- figures:")
    comment, end_of_comment, rest = rest.partition("-->\n")
    _, end, after = rest.partition("<!-- end of figures -->")
    if not (begin and end):
        raise ValueError(f"{page} has no comments `figures:` and `end of figures`")
    page.write_text(f"{before}{begin}{comment}{end_of_comment}\n{figures}\n{end}{after}")
