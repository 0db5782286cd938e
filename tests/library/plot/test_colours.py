"""The scales: the same order for any eye and any printer, and text on them that reads."""

import numpy as np
import pytest

from attnloss.plot import DARK, LIGHT, Theme
from attnloss.plot.themes import ink_on, luminance

THEMES = pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
LEAST_CONTRAST = 4.5
"""What WCAG 2 asks of text, at level AA."""

# Machado, Oliveira and Fernandes 2009, for eyes that lack one kind of cone; they apply to linear RGB.
BLINDNESS = {
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def linear(theme: Theme) -> np.ndarray:
    colours = theme.scale(np.linspace(0, 1, 256))[:, :3]
    return np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)


def oklab(rgb: np.ndarray) -> np.ndarray:
    to_cones = [
        [0.41222147, 0.53633254, 0.05144599],
        [0.2119035, 0.6806995, 0.10739696],
        [0.08830246, 0.2817188, 0.6299787],
    ]
    to_lab = [
        [0.21045426, 0.79361778, -0.00407205],
        [1.9779985, -2.4285922, 0.4505937],
        [0.02590404, 0.78277177, -0.80867577],
    ]
    return np.cbrt(np.clip(rgb, 0, 1) @ np.transpose(to_cones)) @ np.transpose(to_lab)


def contrast(one: str | tuple[float, ...], other: str | tuple[float, ...]) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@THEMES
def test_a_larger_value_is_always_further_from_the_ground_in_grey_print(theme: Theme) -> None:
    steps = np.diff([luminance(tuple(colour)) for colour in theme.scale(np.linspace(0, 1, 256))[:, :3]])
    assert (steps < 0).all() if theme is LIGHT else (steps > 0).all()


@THEMES
def test_equal_steps_look_equal(theme: Theme) -> None:
    steps = np.linalg.norm(np.diff(oklab(linear(theme))[::15], axis=0), axis=-1)
    assert steps.max() / steps.min() < 1.25


@THEMES
@pytest.mark.parametrize("blindness", BLINDNESS)
def test_steps_stay_apart_and_in_order_for_people_with_two_kinds_of_cones(theme: Theme, blindness: str) -> None:
    seen = oklab(linear(theme) @ np.transpose(BLINDNESS[blindness]))[::15]
    lightness = np.diff(seen[:, 0])
    assert (lightness < 0).all() if theme is LIGHT else (lightness > 0).all()
    assert np.linalg.norm(np.diff(seen, axis=0), axis=-1).min() > 0.03


@THEMES
def test_the_least_value_is_the_surface_itself(theme: Theme) -> None:
    assert theme.anchors[0] == theme.surface


@THEMES
def test_text_on_any_colour_of_the_scale_reads(theme: Theme) -> None:
    for colour in theme.scale(np.linspace(0, 1, 256))[:, :3]:
        assert contrast(ink_on(tuple(colour)), tuple(colour)) >= LEAST_CONTRAST


@THEMES
def test_text_on_the_ground_reads(theme: Theme) -> None:
    for ground in (theme.background, theme.surface):
        assert contrast(theme.ink, ground) >= 7
        assert contrast(theme.muted, ground) >= LEAST_CONTRAST


@THEMES
def test_lines_stand_out_from_the_surface(theme: Theme) -> None:
    assert min(contrast(colour, theme.surface) for colour in theme.accents[:2]) >= 3
