"""Strips, alignments and labels: any text, whatever it holds."""

import logging
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from matplotlib.patches import Rectangle

from attnloss import plot
from attnloss.plot import tokens as labels
from attnloss.plot.themes import ink_on

HOSTILE = [
    "$x^2$",
    r"\frac{",
    "<b>&amp;",
    "\x1b[2J",
    "\u202eabc",
    "",
    " a b",
    "\n",
    "你好",
    "안녕",
    "ไทย",
    "😀👍",
    "e\u0301",
    "\ud800",
]


@pytest.fixture(params=["every font that there is", "no other font"])
def fonts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "no other font":
        monkeypatch.setattr(labels, "_installed", lambda: ())


def shown(figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


@pytest.mark.usefixtures("fonts")
def test_tokens_of_any_language_are_drawn_without_a_warning(written) -> None:
    n = len(HOSTILE)
    for figure in (
        plot.heat_map(torch.eye(n), HOSTILE, title="".join(HOSTILE)),
        plot.surprisal_strip(HOSTILE, -torch.rand(n), title="你好 $"),
        plot.alignment(torch.eye(n), HOSTILE, HOSTILE, title="ไทย"),
    ):
        assert written(figure, "png")


def test_a_text_is_only_ever_text(written) -> None:
    svg = written(plot.surprisal_strip(["</text><script>", "$x$"], [-1.0, -2.0], title="<script>$y_1$"), "svg").decode()
    assert "<script" not in svg
    assert "<svg" in svg


def test_white_space_and_control_characters_show() -> None:
    assert [labels.visible(each) for each in (" a", "\n", "\t", "", "\x1b", "\u202e")] == [
        "␣a",
        "↵",
        "⇥",
        "∅",
        "\\x1b",
        "\\u202e",
    ]
    assert labels.visible("x" * 40) == "x" * 17 + "…"


def test_a_character_that_no_font_has_is_a_box(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels, "_installed", lambda: ())
    assert labels.drawable("a你é") == "a□é"
    assert labels.families(["aé"]) == ["DejaVu Sans", "sans-serif"]


def test_a_font_is_asked_for_only_where_it_is_needed(caplog: pytest.LogCaptureFixture, written) -> None:
    with caplog.at_level(logging.WARNING):
        written(plot.heat_map(torch.eye(2), ["plain", " text"]), "png")
    assert not caplog.records


def test_a_strip_writes_every_token_in_order_on_the_colour_of_its_surprisal() -> None:
    log_probs = torch.tensor([-0.0, -1.0, -2.0, -4.0])
    axes = plot.surprisal_strip(["I", " love", " pro", "gram"], log_probs).axes[0]
    assert [text.get_text() for text in axes.texts] == ["I", "␣love", "␣pro", "gram"]
    boxes = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    expected = plot.LIGHT.scale(np.array([0.0, 0.25, 0.5, 1.0]))
    assert np.allclose([box.get_facecolor() for box in boxes], expected)
    for text, box in zip(axes.texts, boxes, strict=True):
        assert text.get_color() == ink_on(box.get_facecolor())
        assert box.get_x() < text.get_position()[0] < box.get_x() + box.get_width()


def test_a_token_that_nothing_scores_has_no_colour() -> None:
    axes = plot.surprisal_strip(["<s>", "a"], [None, -2.0]).axes[0]
    assert len(axes.patches) == 1
    assert plot.surprisal_strip(["<s>"], [None]).axes


def test_a_strip_goes_on_in_the_next_line_and_after_a_new_line() -> None:
    lines = [
        text.get_position()[1]
        for text in plot.surprisal_strip(["ab"] * 9, -torch.rand(9), line_length=10).axes[0].texts
    ]
    assert len(set(lines)) == 3
    assert lines == sorted(lines)
    broken = plot.surprisal_strip(["a", "\n", "b"], -torch.rand(3)).axes[0].texts
    assert broken[2].get_position()[1] > broken[1].get_position()[1] == broken[0].get_position()[1]


def test_the_boxes_of_a_strip_do_not_touch_each_other() -> None:
    tokens = ["wide 你好", "x", "", "long" * 9, "\n", "y"]
    boxes = plot.surprisal_strip(tokens, -torch.rand(6), line_length=30, numbers_below=True).axes[0].patches
    spans = sorted((round(box.get_y(), 3), box.get_x(), box.get_x() + box.get_width()) for box in boxes)
    for (line, _, end), (next_line, start, _) in pairwise(spans):
        assert line < next_line or end <= start


def test_bits_are_nats_over_the_logarithm_of_two() -> None:
    told = shown(plot.surprisal_strip(["a"], [-3 * math.log(2)], unit="bits", numbers_below=True))
    assert told == ["a", "3.0"]


def test_an_alignment_draws_ribbons_of_weights_that_matter_the_strongest_on_top() -> None:
    weights = torch.tensor([[0.9, 0.1, 0.0], [0.04, 0.36, 0.6]])
    axes = plot.alignment(weights, ["a", "b", "c"], ["x", "y"]).axes[0]
    (ribbons,) = axes.collections
    assert np.allclose(
        ribbons.get_edgecolor(), plot.LIGHT.scale(np.array([0.1, 0.36, 0.6, 0.9], np.float32)), atol=0.01
    )
    assert list(ribbons.get_linewidth()) == sorted(ribbons.get_linewidth())
    start, *_, end = ribbons.get_paths()[-1].vertices[:, 1]
    heights = {text.get_text(): text.xy[1] for text in axes.texts}  # type: ignore[attr-defined]
    assert start == heights["a"]
    assert end == heights["x"]


def test_an_alignment_of_long_texts_stays_of_one_size() -> None:
    short = plot.alignment(torch.eye(100), ["s"] * 100, ["t"] * 100)
    long = plot.alignment(torch.eye(200), ["s"] * 200, ["t"] * 200)
    assert short.get_size_inches()[1] == long.get_size_inches()[1]
    assert len(long.axes[0].texts) < 100
