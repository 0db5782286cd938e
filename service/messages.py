"""What crosses the link: lists of frames, JSON in front and raw arrays behind. No pickle."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import orjson
import zmq

from service.job import Job, Outcome

HELLO = b"hello"
"""API → worker: are you there? Answered by STATE, which is also sent unasked when a model is ready or failed."""
JOB = b"job"
CANCEL = b"cancel"
STATE = b"state"
OUTCOME = b"outcome"

Frames = list[Any]

_NO_COPY_FROM_BYTES = 1 << 17
_PADDING = [b"", *(bytes(8 - used) for used in range(1, 8))]
_LAST, _MORE = int(zmq.DONTWAIT), int(zmq.DONTWAIT | zmq.SNDMORE)
"""Plain numbers: pyzmq's enumerations cost more than sending a small frame."""

_JOB_HEADER = [field.name for field in fields(Job) if field.name not in ("id", "arrays", "prepared")]


def job_frames(job: Job) -> Frames:
    """A job as frames; the arrays are views, which must not change until the outcome came."""
    header = {name: getattr(job, name) for name in _JOB_HEADER}
    header["arrays"] = [[name, array.dtype.str, array.shape] for name, array in job.arrays.items()]
    return [JOB, job.id, orjson.dumps(header), *_packed(list(job.arrays.values()))]


def job_from(frames: Sequence[zmq.Frame]) -> Job:
    """The job that `job_frames` wrote; its arrays lie in the frames."""
    _, job_id, head, *buffers = frames
    header = orjson.loads(head.buffer)
    described = header.pop("arrays")
    arrays = _unpacked(buffers, [kind for _, *kind in described])
    named = {name: array for (name, *_), array in zip(described, arrays, strict=True)}
    return Job(id=job_id.bytes, arrays=named, **header)


def outcome_frames(outcome: Outcome) -> Frames:
    """An outcome as frames."""
    arrays: list[tuple[list[str | int], np.ndarray]] = []
    header = {
        "result": None if outcome.result is None else _without_arrays(outcome.result, [], arrays),
        "error": outcome.error,
        "queue_s": outcome.queue_s,
        "compute_s": outcome.compute_s,
        "share_s": outcome.share_s,
        "arrays": [[path, array.dtype.str, array.shape] for path, array in arrays],
    }
    head = orjson.dumps(header, option=orjson.OPT_SERIALIZE_NUMPY)
    return [OUTCOME, outcome.job_id, head, *_packed([array for _, array in arrays])]


def outcome_from(frames: Sequence[zmq.Frame]) -> Outcome:
    """The outcome that `outcome_frames` wrote."""
    _, job_id, head, *buffers = frames
    header = orjson.loads(head.buffer)
    described = header.pop("arrays")
    arrays = _unpacked(buffers, [kind for _, *kind in described])
    for (path, *_), array in zip(described, arrays, strict=True):
        branch = header["result"]
        for part in path[:-1]:
            branch = branch[part]
        branch[path[-1]] = array
    return Outcome(job_id=job_id.bytes, **header)


def send(socket: zmq.Socket[bytes], frames: Frames) -> None:
    """Send without waiting; large arrays are not copied. Raises zmq.Again if nobody is connected."""
    copy = not any(isinstance(frame, np.ndarray) and frame.nbytes >= _NO_COPY_FROM_BYTES for frame in frames)
    for frame in frames[:-1]:
        socket.send(frame, _MORE, copy)
    socket.send(frames[-1], _LAST, copy)


def receive(socket: zmq.Socket[bytes]) -> list[zmq.Frame] | None:
    """The frames of a message that has arrived, or None if there is none."""
    try:
        frames = [socket.recv(_LAST, copy=False)]
    except zmq.Again:
        return None
    while frames[-1].more:
        frames.append(socket.recv(_LAST, copy=False))
    return frames


def _packed(arrays: list[np.ndarray]) -> Frames:
    """Arrays as frames: large ones as they are, several small ones in one frame, each at a multiple of 8 bytes."""
    if len(arrays) < 2 or sum(array.nbytes for array in arrays) >= _NO_COPY_FROM_BYTES:
        return list(arrays)
    parts: list[Any] = []
    for array in arrays:
        parts += (array, _PADDING[array.nbytes % 8])
    return [b"".join(parts)]


def _unpacked(buffers: Sequence[zmq.Frame], kinds: Sequence[Sequence[Any]]) -> list[np.ndarray]:
    """The arrays, of a dtype and a shape each, that `_packed` made frames of; they lie in the frames."""
    if len(buffers) != 1 or len(kinds) == 1:
        return [_array(buffer, *kind) for buffer, kind in zip(buffers, kinds, strict=True)]
    whole = np.frombuffer(buffers[0].buffer, np.int64)
    whole = whole if whole.flags.aligned else whole.copy()
    arrays, start = [], 0
    for dtype, shape in kinds:
        arrays.append(np.ndarray(shape, dtype, whole, start))
        start += -(-arrays[-1].nbytes // 8) * 8
    return arrays


def _array(buffer: zmq.Frame, dtype: str, shape: Sequence[int]) -> np.ndarray:
    array = np.frombuffer(buffer.buffer, dtype).reshape(shape)
    return array if array.flags.aligned else array.copy()


def _without_arrays(tree: Any, path: list[str | int], arrays: list[tuple[list[str | int], np.ndarray]]) -> Any:
    """The tree with its arrays taken out, in order, into `arrays`; None stands for one that lay in a list."""
    if isinstance(tree, np.ndarray):
        arrays.append((path, tree))
        return None
    if isinstance(tree, dict):
        taken = {key: _without_arrays(value, [*path, key], arrays) for key, value in tree.items()}
        return {key: value for key, value in taken.items() if not isinstance(tree[key], np.ndarray)}
    if isinstance(tree, list) and tree and isinstance(tree[0], (dict, list, np.ndarray)):
        return [_without_arrays(value, [*path, i], arrays) for i, value in enumerate(tree)]
    return tree
