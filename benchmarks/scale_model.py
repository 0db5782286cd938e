"""A model of what a request costs each part of the service, fitted to measurements, and what follows from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Load:
    """What a request is to the model: bytes of its body and of its answer, score elements, and its head dim.

    `other_flops` are what a language model computes besides.
    """

    body_bytes: int
    answer_bytes: int
    elements: int
    head_dim: int
    other_flops: float = 0.0

    @property
    def sizes(self) -> dict[str, int]:
        """What costs are linear in, by name."""
        both = self.body_bytes + self.answer_bytes
        return {"body": self.body_bytes, "answer": self.answer_bytes, "byte": both, "element": self.elements}


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
        base, unit = 0.0, _closest_to_1(x / y)
    elif unit < 0:
        base, unit = _closest_to_1(1 / y), 0.0
    return Line(size, float(base), float(unit))


def _closest_to_1(ratios: np.ndarray) -> float:
    """The factor that brings all of them closest to 1."""
    return float(ratios.sum() / (ratios**2).sum())


@dataclass(frozen=True)
class Costs:
    """Processor seconds of a request by stage, and the process in which each stage runs.

    `efficiency` is what was reached of what the seconds alone would allow.
    """

    lines: Mapping[str, Line]
    process_of: Mapping[str, str]
    efficiency: float = 1.0

    def seconds(self, load: Load) -> dict[str, float]:
        """Of each stage."""
        return {stage: line.seconds(load) for stage, line in self.lines.items()}

    def by_process(self, load: Load) -> dict[str, float]:
        """The same, summed over the stages of a process."""
        sums: dict[str, float] = {}
        for stage, spent_s in self.seconds(load).items():
            sums[self.process_of[stage]] = sums.get(self.process_of[stage], 0.0) + spent_s
        return sums

    def rate(self, load: Load, cores: int, client_s: float) -> tuple[float, str]:
        """Requests per second with one process of each kind on so many cores, and what limits it.

        `client_s` are the seconds that whoever sends a request takes of the same cores.
        """
        by_process = self.by_process(load)
        slowest = max(by_process, key=lambda name: by_process[name])
        all_cores, one_process = cores / (sum(by_process.values()) + client_s), 1 / by_process[slowest]
        limit = "cores" if all_cores < one_process else slowest
        return self.efficiency * min(all_cores, one_process), limit


@dataclass(frozen=True)
class Node:
    """One machine of a cluster. What a GPU does is assumed here and was not measured.

    `busy` is the share of a resource that is planned with. A GPU takes `gpu_call_s` for a call of `gpu_batch_jobs`
    jobs, four operations a score element and head dim at `gpu_flops`, a request's bytes at `pcie_bytes_s`, and one core
    of its host.
    """

    cores: int = 64
    gpus: int = 8
    nic_gbit: float = 100.0
    busy: float = 0.7
    gpu_flops: float = 2e13
    gpu_call_s: float = 5e-4
    gpu_batch_jobs: int = 64
    pcie_bytes_s: float = 2e10

    def gpu_s(self, load: Load) -> float:
        """Device seconds of a request."""
        compute_s = (4 * load.head_dim * load.elements + load.other_flops) / self.gpu_flops
        return self.gpu_call_s / self.gpu_batch_jobs + compute_s + load.sizes["byte"] / self.pcie_bytes_s


@dataclass(frozen=True)
class Need:
    """What a rate needs: bits per second of the busier direction of all NICs, cores by stage, GPUs; and nodes."""

    gbit: float
    cores: Mapping[str, float]
    gpus: float
    nodes: Mapping[str, float]

    @property
    def limit(self) -> str:
        """The resource that needs the most nodes."""
        return max(self.nodes, key=lambda name: self.nodes[name])


def need(rate: float, load: Load, costs: Costs, node: Node, *, on_gpus: bool) -> Need:
    """What `rate` requests per second need, their computation on GPUs or on cores."""
    cores = {stage: rate * spent_s for stage, spent_s in costs.seconds(load).items()}
    gpus = rate * node.gpu_s(load) if on_gpus else 0.0
    if on_gpus:
        cores["compute"] = gpus
    gbit = 8e-9 * rate * _nic_bytes(load, second_hop="replica" in costs.lines)
    nodes = {
        "network": gbit / node.nic_gbit / node.busy,
        "decode and encode": (sum(cores.values()) - cores["compute"]) / node.cores / node.busy,
        "device": (gpus / node.gpus if on_gpus else cores["compute"] / node.cores) / node.busy,
    }
    return Need(gbit, cores, gpus, nodes)


def _nic_bytes(load: Load, *, second_hop: bool) -> int:
    """Bytes of a request in the busier direction of all NICs: its body comes in, its answer goes out.

    With a second hop the body also leaves the ingress and enters a worker's node, and the answer comes back.
    """
    return max(load.body_bytes, load.answer_bytes) + (load.sizes["byte"] if second_hop else 0)
