"""Threads, processes and memory: who computes, and in how much room."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from attnloss.kernels import library, native
from attnloss.scores import make_scores

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def any_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def everything(seed: int, heads: int = 1) -> list[Tensor]:
    """All entry points, forward and backward, over several tiles."""
    generator = torch.Generator().manual_seed(seed)
    sizes = (131, 11), (797, 11), (131, 3), (797, 3)
    leaves = [torch.randn(1, heads, *size, generator=generator).requires_grad_() for size in sizes]
    scores, other = make_scores(leaves[0], leaves[1], causal=True), make_scores(leaves[2], leaves[3])
    expectation, *rest, index, weight = native.attend_top(scores, leaves[1], 5)
    assert expectation is not None
    assert index is not None
    assert weight is not None
    results = [expectation, *rest, weight, native.received(scores, rest[0]), native.two_maps(scores, other, "js")]
    return [*results, index, *torch.autograd.grad(sum(result.sin().sum() for result in results), leaves)]


def assert_close(some: list[Tensor], others: list[Tensor]) -> None:
    for one, other in zip(some, others, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("heads", [1, 3])
@pytest.mark.usefixtures("isa", "any_threads")
def test_the_number_of_threads_changes_nothing(heads: int) -> None:
    results = []
    for threads in (1, 2, 3, 7):
        torch.set_num_threads(threads)
        results.append(everything(0, heads))
    for more in results[1:]:
        assert_close(more, results[0])


@pytest.mark.usefixtures("isa")
def test_without_an_openmp_runtime_one_thread_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = everything(0)
    monkeypatch.setattr(library.load(), "_fork_join", None)
    assert library.load().threads() == 1
    assert_close(everything(0), expected)


@pytest.mark.usefixtures("isa")
def test_several_python_threads_may_call_at_once() -> None:
    expected = [everything(seed) for seed in range(4)]
    failures: list[BaseException] = []

    def repeat(seed: int) -> None:
        try:
            for _ in range(10):
                assert_close(everything(seed), expected[seed])
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=repeat, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def python(program: str, built: Path, isa: str, **environment: str) -> str:
    prefix = f"from pathlib import Path; from attnloss.kernels import sources; sources.LIBRARY = Path({str(built)!r})\n"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), library.FORCED: isa, **environment}
    command = [sys.executable, "-c", prefix + program]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_forked_child_computes_though_its_pool_is_dead(built: Path, isa: str) -> None:
    program = """
import os, torch
torch.set_num_threads(2)
from attnloss.kernels import native
from attnloss.scores import make_scores
scores = make_scores(torch.randn(4, 401, 5), torch.randn(4, 401, 5))
expected = native.attend(scores, None)[2]
child = os.fork()
if child == 0:
    os._exit(0 if torch.allclose(native.attend(scores, None)[2], expected) else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""
    python(program, built, isa)


def test_no_result_reads_memory_that_was_not_written(built: Path, isa: str) -> None:
    """Neither torch.empty nor what malloc gives the kernel: the one is filled with NaN, the other with −1.7e38."""
    program = """
import torch
from attnloss.kernels import native
from attnloss.scores import make_scores
torch.use_deterministic_algorithms(True)
assert torch.empty(3).isnan().all()
for n, m in ((13, 17), (131, 797)):
    for options in ({}, {"causal": True, "key_lengths": [m, 5]}, {"mask": torch.rand(2, 3, n, m) > 0.9}):
        query, key, value, query2, key2 = leaves = [
            torch.randn(2, 3, rows, width, requires_grad=True)
            for rows, width in ((n, 5), (m, 5), (m, 7), (n, 3), (m, 3))
        ]
        scores, other = make_scores(query, key, **options), make_scores(query2, key2)
        expectation, lse, entropy, largest, index, weight = native.attend_top(scores, value, 19)
        assert index.max() < m and index.min() >= -1
        results = [expectation, lse.nan_to_num(neginf=0), entropy, largest, weight, native.received(scores, lse)]
        results += [native.two_maps(scores, other, kind) for kind in ("kl", "js")] + [*native.overlaps(scores, other)]
        for tensor in (*results, *torch.autograd.grad(sum(result.sum() for result in results), leaves)):
            assert tensor.abs().max() < 1e4
"""
    python(program, built, isa, MALLOC_PERTURB_="1")


def test_memory_is_linear_in_n(built: Path, isa: str) -> None:
    program = """
import sys, torch
from pathlib import Path
from attnloss.kernels import native
from attnloss.scores import make_scores
def run(n):
    query, key, query2 = leaves = [torch.randn(1, 1, n, 8, requires_grad=True) for _ in range(3)]
    scores, other = make_scores(query, key), make_scores(query2, key)
    output, lse, entropy, largest, index, weight = native.attend_top(scores, key, 4)
    results = output, entropy, weight, native.received(scores, lse), native.two_maps(scores, other, "js")
    torch.autograd.grad(sum(result.sum() for result in results), leaves)
def peak():
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
run(512)
Path("/proc/self/clear_refs").write_text("5")
before = peak()
run(8192)
print(peak() - before)
"""
    assert int(python(program, built, isa)) < 40 * 2**10, "KiB; a map of 8192² float32 has 262144"
