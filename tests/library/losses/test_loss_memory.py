"""The memory of a loss grows with n + m, not with n·m, forward and backward: peaks of fresh processes."""

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from attnloss.registry import LOSSES

ROOT = Path(__file__).parents[3]
SLACK = 2 << 20
"""Bytes that an allocator may take in steps: pages, arenas of threads, autograd's own."""

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peaks are forgotten on Linux only")

PROGRAM = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
import torch
from attnloss import losses, tiling
from attnloss.registry import LOSSES

def kib(name):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(name))

def compute(name, n, backend="auto"):
    maps = [torch.randn(n, 8, requires_grad=True) for _ in range(4)]
    spec = LOSSES[name]
    two = any(parameter.name == "other" for parameter in spec.parameters)
    wanted = {parameter.name: parameter.kind for parameter in spec.parameters}
    target = wanted.get("target")
    parameters = {}
    if target in ("target", "index") and name != "bin":
        parameters["target"] = torch.arange(n)
    if target == "positions":
        parameters["target"] = torch.arange(n).float()
    if name == "disagreement" or name == "orthogonality":
        maps = [tensor[None, None].expand(1, 2, -1, -1) for tensor in maps]
    if name == "bin":
        parameters["target"] = torch.arange(n)
    before = kib("VmRSS")
    open("/proc/self/clear_refs", "w").write("5")
    getattr(losses, name)(*maps[:4 if two else 2], **parameters, backend=backend).backward()
    return (kib("VmHWM") - before) << 10

for task in json.loads(sys.argv[2]):
    name, n, tile = task
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        torch.set_num_threads(1 if n < 8192 else 2)
        least, tiling.TILE_SCORES, tiling.FEWEST_ROWS = tiling.FEWEST_ROWS, 64, 2
        compute(name, 32)  # imports and threads of the way by many tiles
        tiling.FEWEST_ROWS = least
        tiling.TILE_SCORES = tile
        os.write(writing, str(compute(name, n)).encode())
        os._exit(0)
    os.close(writing)
    print(json.dumps([task, int(os.read(reading, 100))]), flush=True)
    os.waitpid(child, 0)
"""


@cache
def measured(*tasks: tuple[str, int, int]) -> dict[tuple[str, int, int], int]:
    """Extra bytes at the peak of each task, every one in a process of its own, warmed up at 32."""
    command = [sys.executable, "-c", PROGRAM, str(ROOT), json.dumps(tasks)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, done.stderr
    return {tuple(task): extra for task, extra in map(json.loads, done.stdout.splitlines())}


SHORT, TILE = 1024, 1 << 14
"""Tiles small against the map, so that a short one shows what grows."""

SLOW = "forward_sum"
"""Goes query by query, so that it is measured at a quarter of the length."""


def short(name: str) -> int:
    return SHORT // 4 if name == SLOW else SHORT


GROWING = tuple((name, times * short(name), TILE) for name in LOSSES for times in (1, 2))


@pytest.mark.slow
@pytest.mark.parametrize("name", LOSSES)
def test_twice_the_length_takes_at_most_twice_the_memory(name: str) -> None:
    peaks = measured(*GROWING)
    one, two = (peaks[name, times * short(name), TILE] for times in (1, 2))
    assert two <= 2 * one + SLACK
    assert two <= 4 * (2 * SHORT) ** 2 // 2, "as much as half the map"


MINUTES = pytest.mark.skipif("ATTNLOSS_LONG_TESTS" not in os.environ, reason="minutes; set ATTNLOSS_LONG_TESTS")
WHOLE = 1 << 19
"""The library's own tile."""

LONG = tuple((name, n, WHOLE) for name in ("entropy", "js") for n in (8192, 16384))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["entropy", "js"])
def test_sixteen_thousand_take_twice_the_memory_of_eight(name: str) -> None:
    peaks = measured(*LONG)
    assert peaks[name, 16384, WHOLE] <= 2 * peaks[name, 8192, WHOLE] + SLACK


@pytest.mark.slow
@pytest.mark.parametrize("name", ["coverage", pytest.param("forward_sum", marks=MINUTES)])
def test_a_carried_state_takes_a_sixteenth_of_the_map_at_most(name: str) -> None:
    peaks = measured((name, 16384, WHOLE))
    assert peaks[name, 16384, WHOLE] <= 4 * 16384**2 // 16


@pytest.mark.slow
def test_entmax_to_four_thousand_keeps_to_a_few_tiles() -> None:
    peaks = measured(("entmax", 4096, WHOLE))
    assert peaks["entmax", 4096, WHOLE] <= 24 * 4 * WHOLE
