"""What a call is predicted to take: measured at start, used to decide whether batching pays."""

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter


@dataclass(frozen=True, slots=True)
class CostModel:
    """Seconds of one call: a fixed part, one per job, and one per score element, larger where padding needs a mask."""

    call_s: float
    element_s: float
    padded_element_s: float
    job_s: float = 0.0

    def predict_s(self, cost: int, padded: bool, jobs: int = 1) -> float:
        """Seconds that a call of so many jobs over `cost` score elements takes."""
        return self.call_s + jobs * self.job_s + self.device_s(cost, padded)

    def device_s(self, cost: int, padded: bool) -> float:
        """The part of it that more cores make shorter."""
        return cost * (self.padded_element_s if padded else self.element_s)


def measure(
    run: Callable[[int, int, bool], None], small: int, large: int, jobs: int = 16, repetitions: int = 7
) -> CostModel:
    """Fit the model to calls of `run(cost, jobs, padded)`, taking the fastest of a few.

    `run` spreads the cost over the jobs evenly, or where it is to be padded, as evenly as differing jobs can have it.
    """
    asked = {
        "small": (small, 1, False),
        "large": (large, 1, False),
        "many": (small * jobs, jobs, False),
        "padded": (large, 2, True),
    }
    fastest = dict.fromkeys(asked, float("inf"))
    for _ in range(repetitions):  # in turns, so that a slow spell of the machine hits all alike
        for name, call in asked.items():
            fastest[name] = min(fastest[name], _seconds(run, *call))
    element_s = max(fastest["large"] - fastest["small"], 1e-9) / (large - small)
    beyond_one_s = fastest["many"] - fastest["small"] - (jobs - 1) * small * element_s
    job_s = min(max(beyond_one_s / (jobs - 1), 0.0), fastest["small"])
    call_s = max(fastest["small"] - job_s - small * element_s, 1e-6)
    padded_element_s = (fastest["padded"] - call_s - 2 * job_s) / large
    return CostModel(call_s, element_s, max(element_s, padded_element_s), job_s)


def _seconds(run: Callable[[int, int, bool], None], cost: int, jobs: int, padded: bool) -> float:
    start_s = perf_counter()
    run(cost, jobs, padded)
    return perf_counter() - start_s
