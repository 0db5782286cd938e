"""The small sizes of examples, run once for all tests of a module."""

from collections.abc import Callable, Iterator, Sequence

import pytest
import torch

from docs.plots import canvas
from examples.runner import compute, load
from examples.study import Run


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def small_runs() -> Callable[[str], Sequence[Run]]:
    """Runs of an example's small sizes, each in this process."""

    def run(name: str) -> Sequence[Run]:
        canvas.set_style()
        return [compute(name, case) for case in load(name).cases(full=False)]

    return run
