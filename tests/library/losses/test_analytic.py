"""Values that are known without computing: uniform maps, one key, equal maps, ends of ranges."""

import math

import pytest
import torch
from torch import Tensor

from attnloss import losses
from attnloss.registry import LOSSES
from tests.library.losses.cases import TWO_MAPS

N, M = 5, 7
BACKENDS = pytest.mark.parametrize("backend", ["auto", "chunked", "reference"])


def uniform() -> tuple[Tensor, Tensor]:
    return torch.zeros(N, 3), torch.ones(M, 3)


def one_hot(keys: list[int], m: int = M) -> tuple[Tensor, Tensor]:
    """Weights of 1 on the given keys, to float32."""
    return 300 * torch.nn.functional.one_hot(torch.tensor(keys), m).float(), torch.eye(m)


UNIFORM = {
    "entropy": ({}, math.log(M)),
    "normalized_entropy": ({}, 1.0),
    "target_entropy": ({"tau": 0.5}, (math.log(M) - 0.5) ** 2),
    "collision": ({}, math.log(M)),
    "row_sum": ({}, 0.0),
    "cross_entropy": ({"target": torch.arange(N)}, math.log(M)),
    "permutation": ({"target": torch.arange(N)}, math.log(M) + (1 - N / M) ** 2),
    "order": ({"target": torch.full((N,), 1.0)}, 4.0),
    "sink": ({"keys": (0, 2)}, 2 / M),
    "variance": ({}, (M**2 - 1) / 12),
    "monotonic": ({}, 0.0),
    "coverage": ({}, (N - 1) / N),
    "doubly_stochastic": ({}, M * (1 - N / M) ** 2),
    "bin": ({"target": torch.arange(N)}, math.log(M)),
    "entmax": ({"target": torch.arange(N)}, (1 - M**-0.5) / 0.75),
    "sparsemax": ({"target": torch.arange(N)}, (1 - 1 / M) / 2),
    "orthogonality": ({}, (1 - 1 / M) ** 2),
}


@BACKENDS
@pytest.mark.parametrize("name", UNIFORM)
def test_equal_weights_give_the_known_value(name: str, backend: str) -> None:
    parameters, value = UNIFORM[name]
    got = getattr(losses, name)(*uniform(), **parameters, backend=backend)
    assert got.item() == pytest.approx(value, abs=2e-6)


@BACKENDS
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0, 1.01, 2.0, 7.0, 300.0, 999.0])
def test_the_renyi_entropy_of_equal_weights_is_log_m_whatever_the_order(alpha: float, backend: str) -> None:
    for dtype in (torch.float32, torch.float64):
        query, key = (tensor.to(dtype) for tensor in uniform())
        got = losses.renyi(query, key, alpha=alpha, backend=backend)
        assert got.item() == pytest.approx(math.log(M), rel=1e-5)


ONE_KEY = {
    "entropy": {},
    "normalized_entropy": {},
    "target_entropy": {},
    "renyi": {},
    "collision": {},
    "row_sum": {},
    "cross_entropy": {"target": torch.arange(N)},
    "bin": {"target": torch.arange(N)},
    "permutation": {"target": torch.arange(N)},
    "entmax": {"target": torch.arange(N)},
    "sparsemax": {"target": torch.arange(N)},
    "order": {"target": torch.arange(N).float()},
    "variance": {},
    "monotonic": {},
    "coverage": {},
    "orthogonality": {},
    "guided": {},
    "distance": {},
    "doubly_stochastic": {},
}


@BACKENDS
@pytest.mark.parametrize("name", ONE_KEY)
def test_a_perfect_permutation_along_the_diagonal_costs_nothing(name: str, backend: str) -> None:
    got = getattr(losses, name)(*one_hot(list(range(N)), N), **ONE_KEY[name], backend=backend)
    assert got.item() == pytest.approx(0, abs=1e-6)


def test_the_smallest_possible_value_of_sink_distance_and_monotonic() -> None:
    away = one_hot([6, 5, 4, 3, 2])
    assert losses.sink(*away).item() == pytest.approx(0, abs=1e-6)
    assert losses.sink(*away, keys=(2, 3)).item() == pytest.approx(2 / 5)
    assert losses.monotonic(*away, reduction="none").tolist() == pytest.approx([1, 1, 1, 1, 0])
    assert losses.distance(*away, reduction="none").tolist() == pytest.approx([4, 2, 0, 2, 4])


def test_coverage_is_what_earlier_queries_took_and_nothing_where_they_are_apart() -> None:
    apart = losses.coverage(*one_hot([3, 1, 0, 6, 2]), reduction="none")
    assert apart.tolist() == pytest.approx([0] * 5, abs=1e-6)
    again = losses.coverage(*one_hot([3, 1, 3, 3, 1]), reduction="none")
    assert again.tolist() == pytest.approx([0, 0, 1, 1, 1], abs=1e-6)


def test_forward_sum_of_the_only_way_is_what_its_cells_cost() -> None:
    query, key = one_hot(list(range(4)), 4)
    blank = -1.0
    per_query = math.log1p(math.exp(blank))
    assert losses.forward_sum(query, key, blank=blank).item() == pytest.approx(4 * per_query, abs=1e-5)
    assert losses.forward_sum(query, key, blank=-100.0).item() == pytest.approx(0, abs=1e-5)


def test_bin_finds_the_way_that_is_there() -> None:
    query, key = one_hot([0, 0, 1, 2, 2], 3)
    assert losses.bin(query, key).item() == pytest.approx(0, abs=1e-6)
    back = losses.bin(*one_hot([2, 1, 0], 3), reduction="none")
    assert back[0] > 1
    assert back[2] > 1


@BACKENDS
@pytest.mark.parametrize("name", sorted(TWO_MAPS))
def test_equal_maps_are_at_no_distance(name: str, backend: str) -> None:
    query, key = torch.randn(2, 3, N, 5), torch.randn(2, 3, M, 5)
    got = getattr(losses, name)(query, key, query, key, reduction="none", backend=backend)
    assert got.abs().max() < 1e-6


@BACKENDS
def test_maps_that_share_no_key_are_as_far_apart_as_can_be(backend: str) -> None:
    maps = (*one_hot([0, 1, 2, 3, 4]), *one_hot([5, 6, 5, 6, 5]))
    largest = {"js": math.log(2), "total_variation": 1.0, "hellinger": 1.0, "cosine": 1.0, "map_mse": 2 / M}
    for name, value in largest.items():
        assert getattr(losses, name)(*maps, backend=backend).item() == pytest.approx(value, abs=1e-6)
    assert losses.kl(*maps, backend=backend).item() == pytest.approx(300 / 7**0.5, rel=1e-4)


@BACKENDS
@pytest.mark.parametrize("size", [1.0, 30.0, 1e3])
def test_distances_stay_within_their_bounds(size: float, backend: str) -> None:
    maps = [torch.randn(2, 3, size_of, 5) * size for size_of in (N, M, N, M)]
    largest = max(float((q @ k.mT).abs().max()) for q, k in (maps[:2], maps[2:]))
    rounding = 4 * torch.finfo(torch.float32).eps * largest  # section 6 of the design
    bounds = {"js": math.log(2), "total_variation": 1, "hellinger": 1, "cosine": 1, "map_mse": 1, "kl": math.inf}
    for name, most in bounds.items():
        values = getattr(losses, name)(*maps, reduction="none", backend=backend)
        assert values.min() >= -1e-6 - rounding
        assert values.max() <= most + 1e-6 + rounding


@pytest.mark.parametrize("name", ["js", "hellinger", "total_variation", "map_mse", "cosine", "score_mse"])
def test_a_symmetric_distance_has_no_first_map(name: str) -> None:
    one, two = [[torch.randn(3, size, 5).double() for size in (N, M)] for _ in range(2)]
    loss = getattr(losses, name)
    torch.testing.assert_close(loss(*one, *two), loss(*two, *one))


def test_kl_and_reverse_kl_change_places_with_the_maps() -> None:
    one, two = [[torch.randn(3, size, 5).double() for size in (N, M)] for _ in range(2)]
    torch.testing.assert_close(losses.kl(*one, *two), losses.reverse_kl(*two, *one))


def test_equal_heads_disagree_in_nothing_and_apart_they_have_no_overlap() -> None:
    query, key = torch.randn(2, 1, N, 5).expand(-1, 3, -1, -1), torch.randn(2, 1, M, 5)
    assert losses.disagreement(query, key).item() == pytest.approx(1)
    apart = torch.stack([one_hot([0, 1, 2])[0], one_hot([3, 4, 5])[0]])[None]
    assert losses.disagreement(apart, torch.eye(M)[None, None]).item() == pytest.approx(0, abs=1e-6)
    assert losses.orthogonality(apart, torch.eye(M)[None, None]).item() == pytest.approx(0, abs=1e-5)


def test_a_single_key_leaves_nothing_to_spread() -> None:
    for name in ("entropy", "normalized_entropy", "collision", "renyi", "variance", "distance", "guided"):
        got = getattr(losses, name)(torch.randn(1, 3), torch.randn(1, 3))
        assert got.item() == pytest.approx(0, abs=1e-6), name


def test_an_order_next_to_one_is_next_to_the_entropy() -> None:
    query, key = torch.randn(N, 3).double(), torch.randn(M, 3).double()
    truth = losses.entropy(query, key, reduction="none")
    for alpha in (1 - 1e-7, 1 + 1e-7, 1 - 1e-4):
        got = losses.renyi(query, key, alpha=alpha, reduction="none")
        torch.testing.assert_close(got, truth, rtol=0, atol=10 * abs(1 - alpha))
    near = losses.entmax(query, key, target=torch.arange(N), alpha=1.05)
    assert near.item() == pytest.approx(losses.cross_entropy(query, key, target=torch.arange(N)).item(), rel=0.1)


def test_the_registry_lists_the_losses_that_the_package_has() -> None:
    public = set(losses.__all__) - {"build"}
    assert public == set(LOSSES)
