from pathlib import Path

import psutil
import pytest
import torch

from service import memory as memory_module
from service.memory import DeviceMemory, _total_bytes, memory_in_use

CPU = torch.device("cpu")


def test_a_cpu_allows_what_the_settings_do() -> None:
    assert DeviceMemory(CPU, 1 << 24).max_batch_cost == 1 << 24


@pytest.mark.parametrize(("free", "expected"), [(1 << 40, 1 << 24), (1 << 20, 52428), (0, 1)])
def test_a_device_with_little_free_memory_allows_less(
    monkeypatch: pytest.MonkeyPatch, free: int, expected: int
) -> None:
    monkeypatch.setattr(memory_module, "free_bytes", lambda device: free)
    assert DeviceMemory(CPU, 1 << 24).max_batch_cost == expected


def test_after_memory_ran_out_batches_are_half_as_large_as_the_one_that_did_not_fit() -> None:
    memory = DeviceMemory(CPU, 1000)
    memory.ran_out(800)
    assert memory.max_batch_cost == 400
    memory.ran_out(5000)
    assert memory.max_batch_cost == 400
    memory.ran_out(1)
    assert memory.max_batch_cost == 1


def test_batches_that_fit_let_them_grow_again_up_to_the_start() -> None:
    memory = DeviceMemory(CPU, 1000)
    memory.ran_out(600)
    sizes = []
    for _ in range(5 * 64):
        memory.fitted("a", 10)
        sizes.append(memory.max_batch_cost)
    assert sorted(set(sizes)) == [300, 600, 1000]
    assert sizes.index(600) == 63


def test_a_job_without_room_is_told_the_largest_of_its_kind_that_was_computed() -> None:
    memory = DeviceMemory(CPU, 1000)
    memory.fitted("a", 70)
    memory.fitted("a", 50)
    memory.fitted("b", 90)
    assert "cost 70 was computed" in memory.fits("a", 100)
    memory.ran_out(60)
    assert "try one of cost 50" in memory.fits("a", 100)
    assert "try one of cost 1" in memory.fits("new", 1)


@pytest.mark.parametrize("place", ["memory.max", "memory/memory.limit_in_bytes"])
def test_a_cpus_memory_is_what_the_container_may_use(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_text("12345678\n")
    monkeypatch.setattr("service.memory._CGROUPS", tmp_path)
    _total_bytes.cache_clear()
    told = memory_in_use(torch.device("cpu"))
    _total_bytes.cache_clear()
    assert told["total"] == 12345678
    assert told["used"] > 1 << 20


def test_a_cpus_memory_without_a_limit_is_the_machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "memory.max").write_text("max\n")
    monkeypatch.setattr("service.memory._CGROUPS", tmp_path)
    _total_bytes.cache_clear()
    assert memory_in_use(torch.device("cpu"))["total"] == psutil.virtual_memory().total
    _total_bytes.cache_clear()
