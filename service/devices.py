"""Which devices a service uses, told without torch: one worker for each."""

import ctypes
import sys


def worker_devices(setting: str) -> list[str]:
    """`auto` and `cuda` become every GPU that the driver shows, `cuda:0,cpu` the two; a worker may refuse its own.

    Without a GPU, auto is the CPU; on a Mac it stays as it is, and the worker tells MPS from CPU.
    """
    cpu = "auto" if sys.platform == "darwin" else "cpu"
    devices: list[str] = []
    for name in setting.split(","):
        gpus = _count_gpus() if name in ("auto", "cuda") else 0
        devices += [f"cuda:{i}" for i in range(gpus)] or [cpu if name == "auto" else name]
    return [name for i, name in enumerate(devices) if name == "cpu" or name not in devices[:i]]


def _count_gpus() -> int:
    """GPUs that CUDA's driver shows, CUDA_VISIBLE_DEVICES respected; 0 without a driver."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int()
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value
