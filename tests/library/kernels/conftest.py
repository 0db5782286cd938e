"""The library is built of the sources at hand, warnings being errors, and every test runs on each instruction set."""

import platform
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from attnloss.kernels import build, library, native, sources
from attnloss.scores import Scores, make_scores


class Sizes(NamedTuple):
    batch: int
    heads: int
    key_heads: int
    n: int
    m: int
    width: int
    features: int


SIZES = {
    "less than a tile": Sizes(2, 6, 3, 11, 13, 7, 5),
    "many tiles": Sizes(1, 2, 1, 131, 797, 17, 19),
    "wide": Sizes(1, 1, 1, 3, 5, 131, 67),
    "a single key": Sizes(1, 1, 1, 3, 1, 1, 1),
}


def _rows_masked(sizes: Sizes) -> Tensor:
    mask = torch.rand(sizes.batch, sizes.heads, sizes.n, sizes.m) > 0.4
    mask[:, :, ::3] = False
    return mask


OPTIONS: dict[str, Callable[[Sizes], dict[str, object]]] = {
    "everything": lambda sizes: {},
    "causal": lambda sizes: {"causal": True},
    "lengths": lambda sizes: {"query_lengths": [sizes.n // 2] * sizes.batch, "key_lengths": _lengths(sizes)},
    "causal lengths": lambda sizes: {
        "causal": True,
        "query_lengths": [sizes.n // 2] * sizes.batch,
        "key_lengths": _lengths(sizes),
    },
    "no key": lambda sizes: {"key_lengths": [0] * sizes.batch},
    "mask with empty rows": lambda sizes: {"mask": _rows_masked(sizes), "causal": True},
    "mask of batch": lambda sizes: {"mask": torch.rand(sizes.batch, 1, 1, sizes.m).expand(-1, -1, sizes.n, -1) > 0.3},
    "mask of heads": lambda sizes: {"mask": torch.rand(1, sizes.heads, sizes.n, 1).expand(-1, -1, -1, sizes.m) > 0.3},
}


def _lengths(sizes: Sizes) -> list[int]:
    return [(sizes.m * (entry + 2)) // 3 % (sizes.m + 1) for entry in range(sizes.batch)]


class Case(NamedTuple):
    sizes: Sizes
    dtype: torch.dtype
    options: dict[str, object]

    def tensor(self, *shape: int) -> Tensor:
        return torch.randn(shape, dtype=self.dtype, requires_grad=True)

    def scores(self, key_heads: int | None = None, width: int | None = None) -> Scores:
        batch, heads, own_key_heads, n, m, own_width, _ = self.sizes
        query = self.tensor(batch, heads, n, width or own_width)
        key = self.tensor(batch, key_heads or own_key_heads, m, width or own_width)
        return make_scores(query, key, **self.options)

    def per_query(self) -> Tensor:
        return self.tensor(self.sizes.batch, self.sizes.heads, self.sizes.n)

    def assert_same(self, mine: Tensor, truth: Tensor, leaves: Sequence[Tensor]) -> None:
        """Values and gradients agree; the twin is float64 throughout."""
        tolerance = 2e-5 if self.dtype == torch.float32 else 1e-12
        close = {"atol": tolerance, "rtol": tolerance, "check_dtype": False}
        assert mine.dtype == self.dtype
        torch.testing.assert_close(mine, truth, **close)
        gain = torch.randn_like(truth)
        expected = torch.autograd.grad(truth, leaves, gain, materialize_grads=True)
        got = torch.autograd.grad(mine, leaves, gain.to(self.dtype), materialize_grads=True)
        for one, other in zip(got, expected, strict=True):
            torch.testing.assert_close(one, other, **close)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        pytest.skip(f"the kernels are for x86-64 Linux, this is {platform.system()} on {platform.machine()}")
    if build.compiler() is None:
        pytest.skip("there is no C++ compiler")
    path = tmp_path_factory.mktemp("kernels") / "_native.so"
    build.build(path, extra=["-Werror"])
    return path


def forget() -> None:
    library.load.cache_clear()
    native.unavailable.cache_clear()


@pytest.fixture(params=list(sources.VARIANTS))
def isa(request: pytest.FixtureRequest, built: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Use one instruction set, or skip where the CPU lacks it."""
    monkeypatch.setattr(sources, "LIBRARY", built)
    monkeypatch.setenv(library.FORCED, request.param)
    forget()
    try:
        library.load()
    except library.Unavailable as reason:
        if "this CPU" in str(reason):
            pytest.skip(str(reason))
        raise
    yield request.param
    forget()


@pytest.fixture(params=[torch.float32, torch.float64], ids=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    return request.param


@pytest.fixture(params=list(SIZES))
def sizes(request: pytest.FixtureRequest) -> Sizes:
    return SIZES[request.param]


@pytest.fixture(params=list(OPTIONS))
def case(request: pytest.FixtureRequest, isa: str, dtype: torch.dtype, sizes: Sizes) -> Case:
    return Case(sizes, dtype, OPTIONS[request.param](sizes))


@pytest.fixture
def plain(isa: str) -> Callable[..., Case]:
    """Make a case of any size in float64, or another type."""
    return lambda *sizes, dtype=torch.float64, **options: Case(Sizes(*sizes), dtype, options)
