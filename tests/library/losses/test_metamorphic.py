"""What must change nothing: shifts of a row, the order of keys, padding, the size of tiles, splitting a batch."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from attnloss import tiling
from attnloss.registry import LOSSES
from tests.library.losses.cases import CASES, ONE_EACH, ORDERED, PAIRS, TWO_MAPS, Maker, Parameters, Problem, setting

pytestmark = pytest.mark.usefixtures("unchecked_shapes")

PLACED = {"guided", "monotonic", "distance", "variance", "order", "forward_sum", "bin"}
"""Losses of where keys are; the others do not know."""
CLOSE = {"rtol": 1e-9, "atol": 1e-9}
EACH = pytest.mark.parametrize(("name", "make"), ONE_EACH.values(), ids=ONE_EACH.keys())
ALL = pytest.mark.parametrize(("name", "make"), CASES.values(), ids=CASES.keys())


@EACH
def test_adding_a_constant_to_the_scores_of_a_row_changes_nothing(name: str, make: Maker) -> None:
    if name == "score_mse":
        pytest.skip("it compares the scores themselves")
    problem = setting("lengths", ordered=name in ORDERED)
    generator = torch.Generator().manual_seed(3)
    c, other_c = (torch.randn(part.shape[-1], generator=generator).double() for part in problem.tensors[1::2])
    moved = Problem(problem.query, problem.key + c, problem.other_query, problem.other_key + other_c, problem.options)
    for backend in ("auto", "chunked"):
        options = {"reduction": "none", "backend": backend}
        got, truth = (each.loss(name, make(problem), **options) for each in (moved, problem))
        torch.testing.assert_close(got, truth, **CLOSE)


def permuted(name: str, parameters: Parameters, order: Tensor) -> Parameters:
    """The parameters for keys taken in another order."""
    place, own = order.argsort(), dict(parameters)
    for key in ("target", "probability"):
        if key in own:
            value = own[key]
            own[key] = value[..., order] if value.is_floating_point() else _moved(value, place)
    if name == "sink":
        own["keys"] = tuple(int(place[key]) for key in own.get("keys", (0,)))
    return own


def _moved(index: Tensor, place: Tensor) -> Tensor:
    inside = (index >= 0) & (index < len(place))
    return torch.where(inside, place[index.clamp(0, len(place) - 1)], index)


@pytest.mark.parametrize(
    ("name", "make"),
    [case for case in CASES.values() if case[0] not in PLACED],
    ids=[label for label, case in CASES.items() if case[0] not in PLACED],
)
def test_the_order_of_the_keys_changes_nothing_but_where_places_count(name: str, make: Maker) -> None:
    problem = setting("mask")
    order = torch.randperm(problem.shape[3], generator=torch.Generator().manual_seed(1))
    options = problem.options | {"mask": problem.options["mask"][:, order]}
    maps = (problem.query, problem.key[..., order, :], problem.other_query, problem.other_key[..., order, :])
    got = Problem(*maps, options).loss(name, permuted(name, make(problem), order), reduction="none")
    truth = problem.loss(name, make(problem), reduction="none")
    torch.testing.assert_close(got, truth, **CLOSE)


@pytest.mark.parametrize("name", sorted(PLACED))
def test_a_loss_of_places_does_know_the_order_of_the_keys(name: str) -> None:
    problem = setting("plain", ordered=name in ORDERED)
    parameters = ONE_EACH[name][1](problem)
    maps = (problem.query, problem.key.roll(1, -2), problem.other_query, problem.other_key.roll(1, -2))
    changed = Problem(*maps, {}).loss(name, parameters)
    assert (changed - problem.loss(name, parameters)).abs() > 1e-3


def padded(problem: Problem, parameters: Parameters, queries: int, keys: int) -> tuple[Problem, Parameters]:
    """The same with queries and keys behind that hold junk, and lengths that leave them out."""
    _, _, n, m = problem.shape
    maps = [
        F.pad(tensor, (0, 0, 0, more), value=7.0)
        for tensor, more in zip(problem.tensors, (queries, keys, queries, keys), strict=True)
    ]
    lengths = {"query_lengths": [n, n], "key_lengths": [m, m]} | problem.options
    own = {
        key: _pad_parameter(value, problem, queries, keys) if isinstance(value, Tensor) else value
        for key, value in parameters.items()
    }
    return Problem(*maps, lengths), own


def _pad_parameter(value: Tensor, problem: Problem, queries: int, keys: int) -> Tensor:
    n, m = problem.shape[2:]
    if value.shape[-2:] == (n, m):
        return F.pad(value, (0, keys, 0, queries), value=3.0)
    along = (0, queries) if value.shape[-1] == n else (0, 0, 0, queries)
    return F.pad(value, along, value=0 if not value.is_floating_point() else 0.5)


@pytest.mark.parametrize(
    ("name", "make", "chosen"),
    [pair for pair in PAIRS.values() if pair[2] in ("square", "causal lengths")],
    ids=[label for label, pair in PAIRS.items() if pair[2] in ("square", "causal lengths")],
)
def test_padding_changes_nothing(name: str, make: Maker, chosen: str) -> None:
    problem = setting(chosen, ordered=name in ORDERED)
    parameters = make(problem)
    for queries, keys in ((2, 3), (3, 0), (0, 2)):
        more, own = padded(problem, parameters, queries, keys)
        for reduction in ("mean", "sum"):
            torch.testing.assert_close(
                more.loss(name, own, reduction=reduction), problem.loss(name, parameters, reduction=reduction), **CLOSE
            )


@pytest.mark.parametrize(
    ("name", "compat"),
    [
        (name, choice)
        for name, spec in LOSSES.items()
        for parameter in spec.parameters
        if parameter.name == "compat"
        for choice in parameter.choices
    ],
)
def test_padding_changes_a_compat_mode_only_where_that_code_is_known_for_it(name: str, compat: str) -> None:
    problem = setting("square", ordered=name in ORDERED)
    parameters = ONE_EACH[name][1](problem) | {"compat": compat}
    more, own = padded(problem, parameters, 2, 3)
    plain, wide = problem.loss(name, parameters), more.loss(name, own)
    cells = problem.shape[2] * problem.shape[3] / (more.shape[2] * more.shape[3])
    share = cells if compat in ("speechbrain", "tinybert") else 1
    torch.testing.assert_close(wide, plain * share, **CLOSE)


@EACH
def test_the_size_of_the_tiles_changes_nothing(monkeypatch: pytest.MonkeyPatch, name: str, make: Maker) -> None:
    problem = setting("grouped", ordered=name in ORDERED)
    parameters = make(problem)
    truth = problem.loss(name, parameters, reduction="none", backend="chunked")
    monkeypatch.setattr(tiling, "FEWEST_ROWS", 1)
    for size in (1, 23, 80, 200):
        monkeypatch.setattr(tiling, "TILE_SCORES", size)
        torch.testing.assert_close(problem.loss(name, parameters, reduction="none", backend="chunked"), truth, **CLOSE)


@ALL
def test_an_entry_of_a_batch_alone_is_itself_among_others(name: str, make: Maker) -> None:
    problem = setting("causal lengths", ordered=name in ORDERED)
    parameters = make(problem)
    together = problem.loss(name, parameters, reduction="none")
    for entry in range(2):
        part = slice(entry, entry + 1)
        options = {key: value[part] if isinstance(value, list) else value for key, value in problem.options.items()}
        alone = Problem(*(tensor[part] for tensor in problem.tensors), options)
        own = {key: value[part] if isinstance(value, Tensor) else value for key, value in parameters.items()}
        torch.testing.assert_close(alone.loss(name, own, reduction="none"), together[part], **CLOSE)


@pytest.mark.parametrize("name", sorted(TWO_MAPS - {"score_mse"}))
def test_a_temperature_is_a_smaller_scale_of_both_maps(name: str) -> None:
    problem = setting("plain")
    warm = problem.loss(name, {"temperature": 3.0}, reduction="none")
    scales = {"scale": problem.query.shape[-1] ** -0.5 / 3, "other_scale": problem.other_query.shape[-1] ** -0.5 / 3}
    torch.testing.assert_close(problem.loss(name, scales, reduction="none"), warm, **CLOSE)


@EACH
def test_parameters_of_size_one_hold_for_all_heads_and_entries(name: str, make: Maker) -> None:
    problem = setting("plain", ordered=name in ORDERED)
    wide = {key: value[:1, :1] if isinstance(value, Tensor) else value for key, value in make(problem).items()}
    if all(not isinstance(value, Tensor) for value in wide.values()):
        pytest.skip("it has no parameter along queries")
    full = {k: v.expand(2, 3, *v.shape[2:]).clone() if isinstance(v, Tensor) else v for k, v in wide.items()}
    bare = {key: value[0, 0] if isinstance(value, Tensor) else value for key, value in wide.items()}
    for own in (wide, bare):
        torch.testing.assert_close(problem.loss(name, own), problem.loss(name, full), **CLOSE)
