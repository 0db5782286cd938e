"""What goes from an ingress replica to a worker replica and back: the frames of the link, as Ray carries them.

Clocks of two machines differ, so a job travels with the seconds that it has left, and gets a name of its receiver's.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import zmq

from service.job import Job, Outcome
from service.messages import job_frames, job_from, outcome_frames, outcome_from

Parts = list[Any]
"""Frames as Ray carries them: bytes and C-contiguous arrays."""

BEGUN = b"begun"
"""Sent before the outcome of a job that is computed alone: from here on it is the one that a death is blamed on."""
UNREADY = b"unready"
"""Instead of an outcome: this replica's worker does not come up, send the job to another."""


def leaving(job: Job, now_s: float) -> Parts:
    """A job on its way to another machine."""
    return job_frames(replace(job, deadline_s=job.deadline_s - now_s, arrival_s=job.arrival_s - now_s))


def arriving(parts: Sequence[Any], job_id: bytes, now_s: float) -> Job:
    """The job that `leaving` wrote, named `job_id`."""
    job = job_from(_frames(parts))
    return replace(job, id=job_id, deadline_s=job.deadline_s + now_s, arrival_s=job.arrival_s + now_s)


def answering(outcome: Outcome) -> Parts:
    """What a job ended in, on its way back."""
    return outcome_frames(outcome)


def answered(parts: Sequence[Any]) -> Outcome:
    """The outcome that `answering` wrote."""
    return outcome_from(_frames(parts))


def _frames(parts: Sequence[Any]) -> list[zmq.Frame]:
    return [zmq.Frame(part, copy=False) for part in parts]
