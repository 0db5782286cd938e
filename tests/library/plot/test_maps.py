"""Heat maps: what is where, in which colour."""

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from attnloss import plot
from attnloss.plot.heat import pooled

TOKENS = ["a", "b", "c", "d", "e"]


def cells(image: np.ndarray, axes: Axes, n: int, m: int) -> np.ndarray:
    """The colour at the middle of each cell [n, m, 3]."""
    box = axes.get_window_extent()
    x = (box.x0 + (np.arange(m) + 0.4) * box.width / m).astype(int)
    y = (len(image) - box.y1 + (np.arange(n) + 0.4) * box.height / n).astype(int)
    return image[np.ix_(y, x)][..., :3]


def labels(ticks: list) -> list[str]:
    return [label.get_text() for label in ticks]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_row_is_a_query_from_the_top_and_a_column_a_key_from_the_left(pixels, theme: str) -> None:
    weights = torch.rand(5, 7)
    figure = plot.heat_map(weights, theme=theme)
    colours = {"light": plot.LIGHT, "dark": plot.DARK}[theme]
    expected = 255 * colours.scale(weights.numpy())[..., :3]
    assert np.abs(cells(pixels(figure), figure.axes[0], 5, 7) - expected).max() <= 1


def test_torch_on_any_dtype_with_gradient_and_numpy_draw_the_same(pixels) -> None:
    weights = torch.tensor([[0.25, 0.75], [1.0, 0.0]])
    first = pixels(plot.heat_map(weights))
    same = [weights.requires_grad_(), weights.detach().bfloat16(), weights.detach().numpy(), weights.detach().double()]
    for each in same:
        assert (pixels(plot.heat_map(each)) == first).all()


def test_tokens_name_both_sides_of_a_square_map_unless_keys_have_their_own() -> None:
    square = plot.heat_map(torch.rand(5, 5), TOKENS).axes[0]
    assert labels(square.get_yticklabels()) == labels(square.get_xticklabels()) == TOKENS
    named = plot.heat_map(torch.rand(5, 2), TOKENS, key_tokens=["x", "y"]).axes[0]
    assert labels(named.get_yticklabels()) == TOKENS
    assert labels(named.get_xticklabels()) == ["x", "y"]
    numbered = plot.heat_map(torch.rand(5, 2), TOKENS).axes[0]
    assert labels(numbered.get_xticklabels()) == ["0", "1"]


def test_many_tokens_are_thinned_evenly_and_say_which_they_are() -> None:
    shown = labels(plot.heat_map(torch.rand(400, 400), [f"t{i}" for i in range(400)]).axes[0].get_yticklabels())
    assert 20 < len(shown) < 60
    indexes = [int(label.split()[1]) for label in shown]
    assert [label.split()[0] for label in shown] == [f"t{i}" for i in indexes]
    assert len(set(np.diff(indexes))) == 1


def test_a_map_of_2048_tokens_is_an_image_and_loses_no_thin_line(pixels, written) -> None:
    weights = np.eye(2048)
    weights[:, 100] = 1
    figure = plot.heat_map(weights)
    axes = figure.axes[0]
    assert not axes.collections
    assert not axes.patches
    box, image = axes.get_window_extent(), pixels(figure)
    inner = image[int(len(image) - box.y1) + 1 : int(len(image) - box.y0) - 1, int(box.x0) + 1 : int(box.x1) - 1]
    dark = inner[..., 0] < 128
    assert dark.any(1).all()
    assert dark.any(0).all()
    assert dark.all(0).any()
    assert len(written(figure, "svg")) < 400_000


def test_blocks_of_a_large_map_show_their_largest_weight() -> None:
    weights = np.random.default_rng(0).random((1003, 7))
    assert pooled(weights, 10).max() == weights.max()
    assert len(pooled(weights, 10)) >= 10
    weights[:] = 0
    weights[1002, 6] = 0.5
    assert pooled(weights, 10)[-1, -1] == 0.5


def test_limits_stretch_the_scale_and_none_takes_those_of_the_map(pixels) -> None:
    weights = torch.tensor([[0.1, 0.2], [0.2, 0.1]])
    stretched = plot.heat_map(weights, limits=None)
    found = cells(pixels(stretched), stretched.axes[0], 2, 2)
    assert np.abs(found[0, 0] - 255.0).max() <= 1
    assert found[0, 1].max() < 100
    assert (
        pixels(plot.heat_map(weights, limits=(0.1, 0.2))) == pixels(plot.heat_map(weights, limits=None))
    ).mean() > 0.9


def test_a_map_of_one_value_is_drawn() -> None:
    for limits in (None, (0.0, 1.0)):
        assert plot.heat_map(torch.ones(3, 3), limits=limits).axes


def test_a_map_drawn_into_axes_leaves_the_rest_of_the_figure_alone() -> None:
    figure = Figure()
    left, right = figure.subplots(1, 2)
    right.set_title("mine")
    assert plot.heat_map(torch.rand(3, 3), axes=left, title="map") is figure
    assert figure.axes == [left, right]
    assert left.get_title(loc="left") == "map"
    assert right.get_title() == "mine"


def test_maps_have_a_caption_each_and_one_scale_for_all(pixels) -> None:
    maps = {f"head {i}": torch.full((3, 4), i / 4) for i in range(5)}
    figure = plot.heat_maps(maps, columns=2, title="all")
    drawn = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title(loc="left") for axes in drawn] == list(maps)
    assert len([axes for axes in figure.axes if axes.get_label() == "colour bar"]) == 1
    image = pixels(figure)
    for axes, weights in zip(drawn, maps.values(), strict=True):
        expected = 255 * plot.LIGHT.scale(weights.numpy())[..., :3]
        assert np.abs(cells(image, axes, 3, 4) - expected).max() <= 1


def test_a_grid_has_the_first_layer_on_top_and_its_numbers_in_the_cells(pixels) -> None:
    values = torch.tensor([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]])
    figure = plot.head_grid(values, layers=[4, 11], heads=[0, 1, 7])
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.texts] == ["0.00", "1.00", "2.00", "3.00", "4.00", "5.00"]
    assert labels(axes.get_yticklabels()) == ["4", "11"]
    assert labels(axes.get_xticklabels()) == ["0", "1", "7"]
    box, image = axes.get_window_extent(), pixels(figure)
    corner = image[int(len(image) - box.y1) + 4, int(box.x0) + 4, :3]
    assert np.abs(corner.astype(int) - 255).max() <= 1


def test_the_numbers_of_a_grid_are_told_apart_whatever_their_size() -> None:
    for scale, decimals in ((1e-3, 4), (1.0, 2), (300.0, 0)):
        texts = plot.head_grid(scale * torch.tensor([[0.1, 0.9], [0.5, -0.2]])).axes[0].texts
        assert {len(text.get_text().partition(".")[2]) for text in texts} == {decimals}
        assert len({text.get_text() for text in texts}) == 4


def test_a_grid_of_a_large_model_has_no_numbers_that_would_overlap() -> None:
    assert not plot.head_grid(torch.rand(80, 64)).axes[0].texts
