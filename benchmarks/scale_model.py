"""A model of what a request costs each part of the service, fitted to measurements, and what follows from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Load:
    """What a request is to the model: bytes of its body and of its answer, score elements, and its head dim."""

    body_bytes: int
    answer_bytes: int
    elements: int
    head_dim: int = 32

    @property
    def sizes(self) -> dict[str, int]:
        """What costs are linear in, by name."""
        both = self.body_bytes + self.answer_bytes
        return {"body": self.body_bytes, "answer": self.answer_bytes, "bytes": both, "elements": self.elements}


@dataclass(frozen=True)
class Line:
    """Seconds of a request: `base_s`, and so many for each unit of `size`."""

    size: str
    base_s: float
    unit_s: float

    def seconds(self, load: Load) -> float:
        """What a request is predicted to take."""
        return self.base_s + self.unit_s * load.sizes[self.size]


def fit(size: str, loads: Sequence[Load], seconds: Sequence[float]) -> Line:
    """The line, of no negative part, with the least squares of relative errors."""
    x = np.array([load.sizes[size] for load in loads], float)
    y = np.maximum(np.array(seconds, float), 1e-9)
    rows = np.stack([np.ones_like(x), x], 1) / y[:, None]
    base, unit = np.linalg.lstsq(rows, np.ones_like(y), rcond=None)[0]
    if base < 0:
        base, unit = 0.0, _best(x / y)
    elif unit < 0:
        base, unit = _best(1 / y), 0.0
    return Line(size, float(base), float(unit))


def _best(ratios: np.ndarray) -> float:
    """The factor that brings all ratios closest to 1."""
    return float(ratios.sum() / (ratios**2).sum())


@dataclass(frozen=True)
class Costs:
    """Processor seconds of a request by part of the service."""

    lines: Mapping[str, Line]

    def seconds(self, load: Load) -> dict[str, float]:
        """Of each part."""
        return {part: line.seconds(load) for part, line in self.lines.items()}

    def per_core(self, load: Load) -> float:
        """Requests per second of one core that does all of it."""
        return 1 / sum(self.seconds(load).values())


@dataclass(frozen=True)
class Node:
    """One machine of a cluster. What a GPU does is assumed, not measured."""

    cores: int = 64
    gpus: int = 8
    nic_gbit: float = 100.0
    busy: float = field(default=0.7, metadata={"help": "share of a resource that is planned with"})
    gpu_flops: float = 2e13
    gpu_call_s: float = 2e-4
    gpu_batch_jobs: int = 64
    pcie_bytes_s: float = 2e10

    def gpu_s(self, load: Load) -> float:
        """Device seconds of a request, assumed: its share of a call, 4·d operations an element, its bytes over PCIe."""
        compute_s = 4 * load.head_dim * load.elements / self.gpu_flops
        return self.gpu_call_s / self.gpu_batch_jobs + compute_s + load.sizes["bytes"] / self.pcie_bytes_s


@dataclass(frozen=True)
class Need:
    """What a rate needs of each resource, and how many nodes that is."""

    amounts: Mapping[str, float]
    nodes: Mapping[str, float]

    @property
    def limit(self) -> str:
        """The resource that needs the most nodes."""
        return max(self.nodes, key=lambda name: self.nodes[name])


def need(rate: float, load: Load, costs: Costs, node: Node, device: str | None) -> Need:
    """What `rate` requests per second need.

    Bytes of a request pass a NIC from the client to the ingress and from there to the worker, and the answer's the same
    way back. `device` names the part that a GPU takes over; None: every part is cores'.
    """
    seconds = costs.seconds(load)
    device_s = seconds.pop(device) if device else 0.0
    gpu_s = node.gpu_s(load) if device else 0.0
    gbit = 8e-9 * 2 * max(load.body_bytes, load.answer_bytes) * rate
    amounts = {"NIC Gbit/s": gbit} | {f"{part} cores": rate * spent_s for part, spent_s in seconds.items()}
    amounts |= {"GPUs": rate * gpu_s} if device else {}
    del device_s
    usable = node.busy
    nodes = {
        "network": gbit / (node.nic_gbit * usable),
        "decode and encode": rate * sum(seconds.values()) / (node.cores * usable),
    }
    nodes |= {"device": rate * gpu_s / (node.gpus * usable)} if device else {}
    return Need(amounts, nodes)
