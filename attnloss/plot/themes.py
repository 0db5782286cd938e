"""Colours on light and on dark ground."""

from dataclasses import dataclass
from functools import cached_property

from matplotlib.colors import Colormap, LinearSegmentedColormap, to_rgb

from attnloss.errors import FieldError


@dataclass(frozen=True)
class Theme:
    """A ground, what is drawn on it, and the scale from the least value, which is the surface itself, to the largest.

    The anchors of a scale lie evenly in OKLab along a path whose lightness only falls (light) or rises (dark), so
    that equal steps look equal with any colour vision and in grey print.
    """

    name: str
    background: str
    surface: str
    ink: str
    muted: str
    line: str
    grid: str
    accents: tuple[str, ...]
    anchors: tuple[str, ...]

    @cached_property
    def scale(self) -> Colormap:
        """The anchors as a colour map."""
        return LinearSegmentedColormap.from_list(f"attnloss-{self.name}", self.anchors, N=256)


Colour = str | tuple[float, float, float] | tuple[float, float, float, float]

OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
"""Colours that people with any colour vision tell apart."""

LIGHT = Theme(
    name="light",
    background="#f7f7f4",
    surface="#ffffff",
    ink="#222222",
    muted="#63635e",
    line="#8a8a85",
    grid="#e4e4e0",
    accents=OKABE_ITO,
    anchors=(
        "#ffffff",
        "#c7e8f3",
        "#91cfeb",
        "#64b1e3",
        "#4691d4",
        "#3570ba",
        "#295298",
        "#1f3770",
        "#162048",
    ),
)
DARK = Theme(
    name="dark",
    background="#171b24",
    surface="#10141d",
    ink="#e6e6e1",
    muted="#a2a5ab",
    line="#767b85",
    grid="#2b303b",
    accents=("#56B4E9", "#E69F00", "#1fc498", "#e39ac6", "#4a9fe0", "#f0e442"),
    anchors=(
        "#10141d",
        "#1a274a",
        "#213e77",
        "#235c9f",
        "#277ebc",
        "#3fa1cd",
        "#69c1d5",
        "#9ddfd8",
        "#d5fadb",
    ),
)
_THEMES = {theme.name: theme for theme in (LIGHT, DARK)}


def named(theme: str) -> Theme:
    """Give the theme of a name. Raises FieldError for another."""
    if theme not in _THEMES:
        raise FieldError("theme", (), f"theme must be one of {', '.join(_THEMES)}; got {theme!r}")
    return _THEMES[theme]


def luminance(colour: Colour) -> float:
    """Compute the relative luminance of WCAG 2, from 0, black, to 1, white."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def ink_on(colour: Colour) -> str:
    """Choose black or white, whichever has the higher contrast: at least 4.58:1, on whatever colour."""
    return "#000000" if (luminance(colour) + 0.05) ** 2 > 1.05 * 0.05 else "#ffffff"
