"""How much a batch may cost on a device: what its free memory holds, and less once it ran out."""

import contextlib
import os
from collections import OrderedDict
from functools import cache
from pathlib import Path

import torch

_BYTES_PER_ELEMENT = 16
"""A score, its weight and their gradients in float32: what an answer with weights and gradients takes at most."""

_SHARE_OF_FREE = 0.8
_GROWS_AFTER = 64
_MOST_GROUPS = 512
_CGROUPS = Path("/sys/fs/cgroup")


def free_bytes(device: torch.device) -> int | None:
    """Free memory of the device; None for a CPU, whose memory the operating system hands out as it is touched."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    return None


def memory_in_use(device: torch.device) -> dict[str, int]:
    """Bytes of the device's memory: what this process has `used`, what its allocator has `reserved`, the `total`.

    Of a CPU they are the resident memory of this process, and the memory of the container or the machine.
    """
    if device.type == "cuda":
        total = torch.cuda.mem_get_info(device)[1]
        used, reserved = torch.cuda.memory_allocated(device), torch.cuda.memory_reserved(device)
        return {"used": used, "reserved": reserved, "total": total}
    if device.type == "mps":
        used, reserved = torch.mps.current_allocated_memory(), torch.mps.driver_allocated_memory()
        return {"used": used, "reserved": reserved, "total": torch.mps.recommended_max_memory()}
    return {"used": _resident_bytes(), "total": _total_bytes()}


def _resident_bytes() -> int:
    """Of this process; 0 where the system has no /proc."""
    with contextlib.suppress(OSError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


@cache
def _total_bytes() -> int:
    least = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for limit in ("memory.max", "memory/memory.limit_in_bytes"):  # of a container, in the second and the first cgroups
        with contextlib.suppress(OSError, ValueError):  # no such file, or it says max
            least = min(least, int((_CGROUPS / limit).read_text()))
    return least


class DeviceMemory:
    """The largest batch, in score elements, and the largest call that is known to fit.

    After the device ran out, batches are half as large as the one that did not fit; every 64 that fit let them grow to
    twice that again, up to what the memory was free for at the start.

    Args:
        device: whose memory it is.
        max_batch_cost: what the settings allow.

    """

    def __init__(self, device: torch.device, max_batch_cost: int) -> None:
        self._device = device
        self._most = self._bounded(max_batch_cost)
        self.max_batch_cost = self._most
        self._fitted_since = 0
        self._largest: OrderedDict[str, int] = OrderedDict()

    def fitted(self, group: str, cost: int) -> None:
        """A call of this cost had enough memory."""
        self._largest[group] = max(cost, self._largest.pop(group, 0))
        if len(self._largest) > _MOST_GROUPS:
            self._largest.popitem(last=False)
        self._fitted_since += 1
        if self._fitted_since >= _GROWS_AFTER and self.max_batch_cost < self._most:
            self.max_batch_cost = min(2 * self.max_batch_cost, self._most)
            self._fitted_since = 0

    def ran_out(self, cost: int) -> None:
        """A call of this cost had not."""
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        self.max_batch_cost = max(self._bounded(min(self.max_batch_cost, cost // 2)), 1)
        self._fitted_since = 0
        for group in [group for group, largest in self._largest.items() if largest >= cost]:
            del self._largest[group]  # it fitted when more was free

    def fits(self, group: str, cost: int) -> str:
        """What can be computed instead of a job of this cost that did not fit, in words."""
        known = self._largest.get(group, 0)
        if 0 < known < cost:
            return f"one of cost {known} was computed"
        return f"try one of cost {max(cost // 2, 1)}"

    def _bounded(self, cost: int) -> int:
        free = free_bytes(self._device)
        return cost if free is None else min(cost, max(int(_SHARE_OF_FREE * free) // _BYTES_PER_ELEMENT, 1))
