"""docs/plots.md, executed: its snippets run and draw the images that it shows."""

import re
import warnings
from pathlib import Path

import matplotlib as mpl
import pytest
import torch

from attnloss import plot
from docs.plots import canvas, gallery

PAGE = gallery.PAGE.read_text()
FUNCTIONS = sorted(name for name in plot.__all__ if name.islower())
MOST_IMAGE_BYTES = 600_000


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of all images of the page, drawn by its snippets."""
    out, threads = tmp_path_factory.mktemp("plots"), torch.get_num_threads()
    torch.set_num_threads(1)
    with mpl.rc_context({"svg.hashsalt": "attnloss", "svg.fonttype": "path"}), warnings.catch_warnings():
        warnings.simplefilter("error")
        for name, figure in gallery.pictures():
            canvas.save(figure, out / name)
    torch.set_num_threads(threads)
    return out


def test_the_snippets_draw_every_image_that_there_is(drawn: Path) -> None:
    names = {path.name for path in drawn.iterdir()}
    assert names == {path.name for path in gallery.IMAGES.iterdir()}
    assert names == {f"{function}-{theme}.svg" for function in FUNCTIONS for theme in ("light", "dark")}


def test_the_page_shows_every_image_that_there_is() -> None:
    shown = re.findall(r'"images/plots/([^"]+)"', PAGE)
    assert sorted(shown) == sorted(path.name for path in gallery.IMAGES.iterdir())
    assert sum(path.stat().st_size for path in gallery.IMAGES.iterdir()) < MOST_IMAGE_BYTES
    assert PAGE.count('alt="') == len(FUNCTIONS)


def test_the_images_have_the_size_of_those_that_the_snippets_draw(drawn: Path) -> None:
    """Their size, which the arithmetic of no processor touches."""
    for path in gallery.IMAGES.iterdir():
        committed, fresh = (re.findall(r"<svg .*?>", each.read_text(), re.DOTALL) for each in (path, drawn / path.name))
        assert committed == fresh, path.name


def test_light_and_dark_images_are_on_their_own_ground() -> None:
    for path in gallery.IMAGES.iterdir():
        ground, other = plot.LIGHT.background, plot.DARK.background
        if path.stem.endswith("dark"):
            ground, other = other, ground
        text = path.read_text()
        assert text.count(ground)
        assert not text.count(other)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_function_has_its_section(function: str) -> None:
    assert f"\n## {function}\n" in PAGE


def test_a_line_of_the_readme_leads_to_the_page() -> None:
    assert "(docs/plots.md)" in (gallery.DOCS.parent / "README.md").read_text()
