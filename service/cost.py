"""What a call is predicted to take: measured at start, used to decide whether batching pays."""

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter


@dataclass(frozen=True, slots=True)
class CostModel:
    """Seconds of one call: a fixed part, and a part per score element that is larger where padding needs a mask."""

    call_s: float
    element_s: float
    padded_element_s: float

    def predict_s(self, cost: int, padded: bool) -> float:
        """Seconds that a call over `cost` score elements takes."""
        return self.call_s + cost * (self.padded_element_s if padded else self.element_s)


def measure(run: Callable[[int, bool], None], small: int, large: int, repetitions: int = 5) -> CostModel:
    """Fit the model to calls of `run(cost, padded)`, taking the fastest of a few."""
    small_s, large_s, padded_s = (
        min(_seconds(run, cost, padded) for _ in range(repetitions))
        for cost, padded in ((small, False), (large, False), (large, True))
    )
    element_s = max(large_s - small_s, 1e-9) / (large - small)
    padded_element_s = max(padded_s - small_s, 1e-9) / (large - small)
    return CostModel(
        call_s=max(small_s - small * element_s, 1e-6),
        element_s=element_s,
        padded_element_s=max(element_s, padded_element_s),
    )


def _seconds(run: Callable[[int, bool], None], cost: int, padded: bool) -> float:
    start_s = perf_counter()
    run(cost, padded)
    return perf_counter() - start_s
