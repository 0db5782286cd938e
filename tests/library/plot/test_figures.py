"""What every plot keeps to: figures of its own, no state, the same bytes, two themes, errors that say both sides."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib import pyplot
from matplotlib.figure import Figure

from attnloss import FieldError, plot

ROOT = Path(__file__).parents[3]
GENERATOR = np.random.default_rng(0)
MAP = GENERATOR.random((5, 5))
TOKENS = [" one", " two", " three", " four", " five"]
DRAW: dict[str, Callable[..., Figure]] = {
    "heat_map": lambda **options: plot.heat_map(MAP, TOKENS, **options),
    "heat_maps": lambda **options: plot.heat_maps({"a": MAP, "b": MAP.T}, **options),
    "head_grid": lambda **options: plot.head_grid(MAP, label="nats", **options),
    "surprisal_strip": lambda **options: plot.surprisal_strip(TOKENS, -5 * MAP[0], **options),
    "entropy_by_layer": lambda **options: plot.entropy_by_layer(MAP, keys=9, **options),
    "alignment": lambda **options: plot.alignment(MAP, TOKENS, TOKENS, **options),
}
EVERY = pytest.mark.parametrize("name", DRAW)


def test_every_function_is_tested_here() -> None:
    assert set(DRAW) == {name for name in plot.__all__ if name.islower()}


@EVERY
def test_a_plot_leaves_no_figure_in_pyplot_and_no_setting_changed(name: str, written) -> None:
    before = dict(mpl.rcParams)
    assert written(DRAW[name](title="a title"), "png")
    assert pyplot.get_fignums() == []
    assert dict(mpl.rcParams) == before


@EVERY
def test_a_plot_is_the_same_every_time(name: str, written) -> None:
    with mpl.rc_context({"svg.hashsalt": "attnloss"}):
        assert written(DRAW[name](), "svg") == written(DRAW[name](), "svg")


@EVERY
def test_light_and_dark_differ_in_ground_and_in_nothing_of_their_size(name: str, pixels) -> None:
    light, dark = pixels(DRAW[name]()), pixels(DRAW[name](theme="dark"))
    assert light.shape == dark.shape
    assert light[0, 0].mean() > 230
    assert dark[0, 0, :3].mean() < 60
    assert (light != dark).any(-1).mean() > 0.9


@EVERY
def test_all_that_is_drawn_lies_within_the_figure(name: str) -> None:
    figure = DRAW[name](title="a title that is longer than a small plot is wide, so that the figure has to grow")
    figure.canvas.draw()
    box = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    assert box.x0 >= 0
    assert box.y0 >= 0
    assert box.x1 <= width
    assert box.y1 <= height


@pytest.mark.parametrize("name", [name for name in DRAW if name != "heat_maps"])
def test_a_plot_draws_into_axes_that_it_is_given(name: str) -> None:
    figure = Figure()
    left, right = figure.subplots(1, 2)
    assert DRAW[name](axes=left, title="mine") is figure
    assert figure.axes == [left, right]
    assert left.has_data() or left.texts
    assert not right.has_data()


@EVERY
def test_a_title_is_written_only_if_there_is_one(name: str, pixels) -> None:
    assert pixels(DRAW[name](title="a title")).shape[0] > pixels(DRAW[name]()).shape[0]


def test_entropy_has_a_dot_a_head_and_their_mean_as_a_line() -> None:
    entropy = torch.rand(4, 3, 10) * 2
    dots, line = plot.entropy_by_layer(entropy).axes[0].lines
    assert np.allclose(dots.get_xydata()[:, 1], entropy.mean(-1).flatten())
    assert np.allclose(line.get_ydata(), entropy.mean((1, 2)))


def test_the_most_that_entropy_can_be_is_drawn_where_keys_are_told() -> None:
    *_, ceiling = plot.entropy_by_layer(torch.rand(4, 3), keys=8).axes[0].lines
    assert np.allclose(ceiling.get_ydata(), np.log(8))


NAN = MAP.copy()
NAN[2, 3] = np.nan
WRONG: list[tuple[Callable[[], Figure], str, tuple[int, ...], str]] = [
    (lambda: plot.heat_map(torch.rand(2, 3, 4)), "weights", (), "must have shape [n, m] with no size 0, got [2, 3, 4]"),
    (lambda: plot.heat_map(torch.rand(0, 4)), "weights", (), "got [0, 4]"),
    (lambda: plot.heat_map(NAN), "weights", (2, 3), "weights[2, 3] must be finite, got nan"),
    (lambda: plot.heat_map(MAP * 3 - 3), "weights", (0, 0), "must be within 0…1, the limits"),
    (lambda: plot.heat_map(torch.rand(2, 2) > 0.5), "weights", (), "must be numbers, got bool"),
    (lambda: plot.heat_map(MAP, TOKENS[:4]), "tokens", (), "must have length 5, one for each query, got 4"),
    (lambda: plot.heat_map(MAP, "fives"), "tokens", (), "must be a sequence of strings, got the one string 'fives'"),
    (lambda: plot.heat_map(MAP, key_tokens=["a"]), "key_tokens", (), "must have length 5, one for each key, got 1"),
    (lambda: plot.heat_map(MAP, limits=(1.0, 0.0)), "limits", (), "must be finite with low < high, got [1.0, 0.0]"),
    (lambda: plot.heat_map(MAP, theme="red"), "theme", (), "must be one of light, dark; got 'red'"),
    (lambda: plot.heat_maps({}), "maps", (), "must be at least 1, got 0"),
    (lambda: plot.heat_maps({"a": NAN}), "maps['a']", (2, 3), "maps['a'][2, 3] must be finite, got nan"),
    (lambda: plot.head_grid(torch.rand(3)), "values", (), "must have shape [layers, heads]"),
    (lambda: plot.head_grid(MAP, layers=[0]), "layers", (), "must have length 5, one for each layer, got 1"),
    (lambda: plot.surprisal_strip(TOKENS, [-1.0]), "tokens", (), "must have length 1, one for each log_prob, got 5"),
    (lambda: plot.surprisal_strip(["a"], [0.5]), "log_probs", (0,), "log_probs[0] must be at most 0, got 0.5"),
    (lambda: plot.surprisal_strip(["a"], [-np.inf]), "log_probs", (0,), "must be finite, got -inf"),
    (lambda: plot.surprisal_strip(["a"], [-1.0], unit="bans"), "unit", (), "must be one of nats, bits; got 'bans'"),
    (lambda: plot.surprisal_strip([], []), "log_probs", (), "must have shape [n] with no size 0, got [0]"),
    (lambda: plot.entropy_by_layer(torch.rand(3)), "entropy", (), "must have shape [layers, heads]"),
    (lambda: plot.entropy_by_layer(-MAP), "entropy", (0, 0), "must be at least 0, got -"),
    (lambda: plot.entropy_by_layer(MAP + 1, keys=2), "entropy", (0, 0), "must be within 0…0.693147, log 2"),
    (lambda: plot.alignment(MAP, TOKENS[:3], TOKENS), "source_tokens", (), "must have length 5"),
    (lambda: plot.alignment(MAP, TOKENS, TOKENS[:3]), "target_tokens", (), "must have length 5"),
    (lambda: plot.alignment(MAP, TOKENS, TOKENS, least=0.0), "least", (), "must be within 0 < least ≤ 1, got 0.0"),
]


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize(("draw", "field", "index", "message"), WRONG, ids=[f"{case[1]}: {case[3]}" for case in WRONG])
def test_what_cannot_be_drawn_is_named_with_what_was_expected_and_what_came(
    draw: Callable[[], Figure], field: str, index: tuple[int, ...], message: str
) -> None:
    with pytest.raises(FieldError) as caught:
        draw()
    assert (caught.value.field, caught.value.index) == (field, index)
    assert message in str(caught.value)


def test_without_matplotlib_the_error_is_one_line_that_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "matplotlib.py").write_text("raise ImportError")
    paths = [str(tmp_path), str(ROOT)]
    program = (
        f"import sys; sys.path[:0] = {paths!r}; import attnloss; assert 'plot' not in dir(attnloss); attnloss.plot"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    *_, last = done.stderr.strip().splitlines()
    assert last == "ImportError: attnloss.plot needs matplotlib: pip install 'attnloss[plot]'"
