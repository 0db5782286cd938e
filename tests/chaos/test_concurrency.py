"""An answer does not depend on what else is asked at the same time."""

import base64
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.chaos.figures import record
from tests.chaos.jobs import encoded, tensors
from tests.chaos.watch import batches_over
from tests.chaos.wire import Wire, request_bytes
from tests.serving import Server

pytestmark = pytest.mark.chaos

EXAMPLES = 25
MOST_AT_ONCE = 16
TOLERANCE = {"float32": 64 * 2.0**-23, "float64": 64 * 2.0**-52, "bfloat16": 2.0**-7}
"""Sums of at most 40 terms in another order; and a last place of bfloat16, in which an output is given."""


class Drawn:
    """A request; no dataclass, of which Hypothesis prints all when a test has failed."""

    def __init__(self, path: str, fields: dict[str, Any], about: dict[str, Any]) -> None:
        self.request = request_bytes(json.dumps(fields).encode(), path)
        self.dtype = fields["dtype"]
        self.about = about

    def __repr__(self) -> str:
        return str(self.about)


@st.composite
def requests(draw: st.DrawFn) -> Drawn:
    """A request of few kinds, so that many can share a batch, and of all shapes."""
    n, m = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    batch, d = draw(st.integers(1, 3)), draw(st.sampled_from((4, 8)))
    query = tensors(draw(st.integers(0, 9)), (batch, n, d))["query"]
    key, value = (tensors(draw(st.integers(0, 9)), (batch, m, d))[name] for name in ("key", "value"))
    fields: dict[str, Any] = {"query": encoded(query), "key": encoded(key), "value": encoded(value)}
    fields["dtype"] = draw(st.sampled_from(("float32", "float32", "float32", "float64", "bfloat16")))
    fields["causal"] = draw(st.booleans())
    if draw(st.booleans()):
        fields["key_lengths"] = draw(st.lists(st.integers(0, m), min_size=batch, max_size=batch))
    if draw(st.booleans()):
        fields["query_lengths"] = draw(st.lists(st.integers(0, n), min_size=batch, max_size=batch))
    path = draw(st.sampled_from(("/attention", "/loss")))
    if path == "/loss":
        fields["losses"] = [{"name": "entropy"}] + ([{"name": "coverage"}] if draw(st.booleans()) else [])
        fields["return"] = draw(st.sampled_from((["loss"], ["loss", "grad"], ["loss", "per_query", "received"])))
        fields["reduction"] = draw(st.sampled_from(("mean", "sum", "none")))
    else:
        fields["return"] = draw(st.sampled_from((["output", "weights"], ["entropy", "max", "lse", "received"])))
    fields["encoding"] = draw(st.sampled_from(("json", "base64")))
    about = {name: value for name, value in fields.items() if name not in ("query", "key", "value")}
    about |= {"path": path, "batch": batch, "n": n, "m": m, "d": d}
    return Drawn(path, fields, about)


def ask(server: Server, job: Drawn) -> dict[str, Any]:
    with Wire(server.port) as wire:
        answer = wire.ask(job.request)
    assert answer.status == 200, answer.body
    found: dict[str, Any] = answer.json()
    return found


def test_answers_under_concurrency_are_those_of_the_jobs_alone(start_server: Callable[..., Server]) -> None:
    server = start_server()
    asked = 0

    @given(jobs=st.lists(requests(), min_size=8, max_size=24), at_once=st.integers(2, MOST_AT_ONCE))
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        derandomize=True,
        phases=[Phase.generate],  # shrinking would ask the server for minutes
    )
    def same_alone_and_together(jobs: list[Drawn], at_once: int) -> None:
        nonlocal asked
        alone = [ask(server, job) for job in jobs]
        with ThreadPoolExecutor(at_once) as pool:
            together = list(pool.map(lambda job: ask(server, job), jobs))
        for job, expected, found in zip(jobs, alone, together, strict=True):
            assert_close(found, expected, TOLERANCE[job.dtype], str(job.about))
        asked += len(jobs)

    same_alone_and_together()
    shared = batches_over(server, 1)
    record(
        "answers under concurrency against answers alone",
        examples=EXAMPLES,
        jobs=asked,
        batches_of_several=int(shared),
        different=0,
    )
    assert shared, "no jobs shared a batch"


def assert_close(found: Any, expected: Any, tolerance: float, name: str = "answer") -> None:
    """The same structure, and numbers within a tolerance, relative to those above 1; `backend` may differ."""
    if isinstance(expected, dict) and "base64" in expected:
        assert found["shape"] == expected["shape"]
        pair = [np.frombuffer(base64.b64decode(each["base64"]), each["dtype"]) for each in (found, expected)]
        np.testing.assert_allclose(*pair, atol=tolerance, rtol=tolerance, err_msg=name)
    elif isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key in expected.keys() - {"backend"}:
            assert_close(found[key], expected[key], tolerance, f"{name}.{key}")
    elif isinstance(expected, str):
        assert found == expected
    else:
        pair = [np.array(each, np.float64) for each in (found, expected)]  # null, of a lse, becomes NaN
        np.testing.assert_allclose(*pair, atol=tolerance, rtol=tolerance, err_msg=name)
