import pickle
import sys
from typing import Any

import numpy as np
import pytest
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from service.errors import Invalid
from service.job import Job, Outcome
from service.messages import Frames, job_frames, job_from, outcome_frames, outcome_from, receive, send

names = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=8)
dtypes = st.sampled_from([np.float32, np.float64, np.int64, np.bool_])
arrays = dtypes.flatmap(lambda dtype: npst.arrays(dtype, npst.array_shapes(min_dims=1, max_dims=4, max_side=4)))
plain = (
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | names
)
options = st.dictionaries(
    names, st.recursive(plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3))
)
results = st.recursive(
    st.dictionaries(names, plain | arrays, max_size=4),
    lambda inner: st.dictionaries(names, inner | arrays, max_size=3),
    max_leaves=6,
)


def received(frames: Frames) -> list[zmq.Frame]:
    return [
        zmq.Frame(bytes(memoryview(frame).cast("B")) if isinstance(frame, np.ndarray) else frame) for frame in frames
    ]


def misaligned(frames: Frames) -> list[Any]:
    """Frames whose array buffers begin one byte past an aligned address."""

    class _Frame:
        def __init__(self, data: bytes) -> None:
            self.bytes = data
            self.buffer = memoryview(b"\0" + data)[1:]

    return [_Frame(frame.tobytes() if isinstance(frame, np.ndarray) else frame) for frame in frames]


def same(left: Any, right: Any) -> bool:
    if isinstance(left, np.ndarray):
        return bool(left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes())
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(value, right[key]) for key, value in left.items())
    return bool(left == right)


def a_job(arrays: dict[str, np.ndarray], options: dict[str, Any]) -> Job:
    return Job(bytes(range(16)), "loss", arrays, options, "group", 2, 3, 4, 5, 120, 60.5, 0.5, alone=True)


@given(st.dictionaries(names, arrays, max_size=5), options)
def test_a_job_survives_its_frames(named: dict[str, np.ndarray], options: dict[str, Any]) -> None:
    job = a_job(named, options)
    came = job_from(received(job_frames(job)))
    for field in ("id", "kind", "arrays", "options", "group", "n", "m", "cost", "deadline_s", "arrival_s", "alone"):
        assert same(getattr(job, field), getattr(came, field)), field


@given(results)
def test_an_outcome_survives_its_frames(result: dict[str, Any]) -> None:
    outcome = Outcome(b"x" * 16, result, None, 0.25, 0.5)
    came = outcome_from(received(outcome_frames(outcome)))
    assert (came.job_id, came.error, came.queue_s, came.compute_s) == (b"x" * 16, None, 0.25, 0.5)
    assert same(outcome.result, came.result)


def test_an_error_survives_its_frames() -> None:
    error = Invalid.field("losses[1].target[0]", "expected a sum of 1 ± 1e-3").to_wire()
    came = outcome_from(received(outcome_frames(Outcome(b"y" * 16, error=error))))
    assert (came.result, came.error) == (None, error)


@settings(max_examples=20)
@given(arrays)
def test_arrays_read_from_unaligned_buffers_are_aligned_and_equal(array: np.ndarray) -> None:
    several = job_from(misaligned(job_frames(a_job({"mask": np.ones(3, bool), "query": array}, {}))))
    assert several.arrays["query"].flags.aligned
    assert same(several.arrays["query"], array)
    job = job_from(misaligned(job_frames(a_job({"query": array}, {}))))
    outcome = outcome_from(misaligned(outcome_frames(Outcome(b"z" * 16, {"lse": array}))))
    assert outcome.result is not None
    for came in (job.arrays["query"], outcome.result["lse"]):
        assert came.flags.aligned
        assert same(came, array)


def test_arrays_cross_as_their_raw_bytes() -> None:
    array = np.arange(6.0).reshape(2, 3)
    *_, frame = job_frames(a_job({"query": array}, {}))
    assert frame is array
    assert bytes(received([frame])[0]) == array.tobytes()


def test_small_arrays_cross_in_one_frame_and_large_ones_each_in_its_own_uncopied() -> None:
    small, large = np.arange(6.0), np.zeros(1 << 15)
    assert len(job_frames(a_job({"query": small, "key": small}, {}))) == 4
    *_, first, second = job_frames(a_job({"query": small, "key": large}, {}))
    assert (first is small, second is large) == (True, True)


def test_a_message_is_received_frame_by_frame_and_nothing_is_received_where_nothing_came() -> None:
    context: zmq.Context[Any] = zmq.Context()
    with context, context.socket(zmq.PAIR) as ours, context.socket(zmq.PAIR) as theirs:
        ours.bind("inproc://here")
        theirs.connect("inproc://here")
        assert receive(ours) is None
        send(theirs, [b"first", np.arange(2.0), b"last"])
        send(theirs, [b"alone"])
        assert [frame.bytes for frame in receive(ours) or []] == [b"first", np.arange(2.0).tobytes(), b"last"]
        assert [frame.bytes for frame in receive(ours) or []] == [b"alone"]
        assert receive(ours) is None


def test_a_frame_that_holds_a_pickle_is_not_executed() -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (sys.exit, ("executed",))

    frames = [zmq.Frame(b"job"), zmq.Frame(b"i" * 16), zmq.Frame(pickle.dumps(Bomb()))]
    with pytest.raises(ValueError, match=r".+"):
        job_from(frames)


def test_a_job_with_fewer_buffers_than_described_arrays_is_refused() -> None:
    frames = received(job_frames(a_job({"query": np.ones(3), "key": np.ones(3)}, {})))
    with pytest.raises(ValueError, match="zip"):
        job_from(frames[:-1])
