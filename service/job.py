"""A job: one validated request, decoded, with its cost and its deadline."""

from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

Kind = Literal["attention", "loss", "text"]


@dataclass(frozen=True, slots=True)
class Job:
    """What the link carries to the worker and the batcher orders.

    `arrays` are C-contiguous; those of a loss are named `losses.<i>.<parameter>`. `group` names all that jobs must
    share to be computed in one call but for n and m. `deadline_s` and `arrival_s` are readings of the monotonic clock,
    which the processes of one machine share. `alone` keeps a job out of batches, since a worker died over it.
    `request_id` and `traceparent` say in logs and traces whose job it is.

    Of a text job, n and m are UTF-8 bytes until the worker has tokenised it, and `prepared` is what it made of it,
    which no link carries.
    """

    id: bytes
    kind: Kind
    arrays: dict[str, np.ndarray] = field(repr=False)
    options: dict[str, Any]
    group: str
    batch: int
    heads: int
    n: int
    m: int
    cost: int
    deadline_s: float
    arrival_s: float
    alone: bool = False
    request_id: str = ""
    traceparent: str | None = None
    prepared: Any = field(default=None, repr=False, compare=False)

    def on_its_own(self) -> "Job":
        """The same job, to be computed in a batch of one."""
        return replace(self, alone=True)

    def due(self, deadline_s: float) -> "Job":
        """The same job with another deadline."""
        return replace(self, deadline_s=deadline_s)

    def of_request(self, request_id: str, traceparent: str | None, deadline_s: float) -> "Job":
        """The same job with the deadline of the request that asks for it."""
        return replace(self, request_id=request_id, traceparent=traceparent, deadline_s=deadline_s)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a job ends in: a result, or an error as `ServiceError.to_wire` makes it; exactly one of them.

    `compute_s` is what its batch took, `share_s` the job's share of that, by cost; 0 if it was not computed.
    """

    job_id: bytes
    result: dict[str, Any] | None = field(default=None, repr=False)
    error: dict[str, Any] | None = None
    queue_s: float = 0.0
    compute_s: float = 0.0
    share_s: float = 0.0
