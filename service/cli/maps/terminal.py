"""Tables and heat strips."""

from collections.abc import Sequence

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from service.cli.maps.summary import HeadSummary, TokenSummary

_COLD, _HOT = (30, 34, 60), (255, 140, 40)
_PIPE_WIDTH = 200


def console() -> Console:
    """Standard output; where it is no terminal, wide enough for tables to stay whole."""
    made = Console(highlight=False)
    return made if made.is_terminal else Console(highlight=False, width=_PIPE_WIDTH)


def visible(token: str) -> str:
    """The token with control characters written out, so that it can do nothing to a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in token) or "∅"


def head_table(summaries: Sequence[HeadSummary], first_token: str) -> Table:
    """A row a head."""
    table = Table(title_justify="left")
    for name in ("layer", "head", "entropy", "max", f"to {visible(first_token)}"):
        table.add_column(Text(name), justify="right")
    for each in summaries:
        numbers = (f"{value:.4f}" for value in (each.entropy, each.max, each.first_key))
        table.add_row(str(each.layer), str(each.head), *numbers)
    return table


def token_table(summaries: Sequence[TokenSummary]) -> Table:
    """A row a token."""
    table = Table()
    table.add_column("token")
    table.add_column("entropy", justify="right")
    table.add_column("strongest key")
    table.add_column("weight", justify="right")
    table.add_column("received", justify="right")
    for each in summaries:
        numbers = [f"{value:.4f}" for value in (each.entropy, each.weight, each.received)]
        token, key = Text(visible(each.token)), Text(visible(each.strongest_key))
        table.add_row(token, numbers[0], key, *numbers[1:])
    return table


def heat_strip(tokens: Sequence[str], values: np.ndarray, *, colour: bool) -> Text:
    """The text with the background of each token as hot as its value; without colours the values are written out."""
    strip = Text()
    if not colour:
        pairs = (f"{visible(token).strip()} {value:.2f}" for token, value in zip(tokens, values, strict=True))
        return strip.append(" | ".join(pairs))
    largest = max(float(values.max()), 1e-9)
    for token, value in zip(tokens, values, strict=True):
        share = float(value) / largest
        red, green, blue = (round(cold + share * (hot - cold)) for cold, hot in zip(_COLD, _HOT, strict=True))
        ink = "black" if share > 0.5 else "white"
        strip.append(visible(token), f"{ink} on rgb({red},{green},{blue})")
    return strip
