"""Which device to compute on."""

import torch


def best_device() -> torch.device:
    """CUDA if there is one, else Apple MPS, else the CPU; asked at run time, not at import."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def resolve_device(name: str) -> torch.device:
    """Turn "auto", "cpu", "cuda", "cuda:0" or "mps" into a device that this machine has.

    Raises ValueError for another name, and where the device is missing.
    """
    if name == "auto":
        return best_device()
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (number and not (kind == "cuda" and number.isdecimal())):
        raise ValueError(f"device must be auto, cpu, cuda, cuda:N or mps; got {name!r}")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise ValueError("device mps was asked for, but this machine or this torch has no MPS")
    if kind == "cuda":
        found = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(number or 0) >= found:
            raise ValueError(f"device {name} was asked for, but torch sees {found} CUDA devices")
    return torch.device(name)
