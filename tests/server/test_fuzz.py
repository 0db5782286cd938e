"""Whatever a client sends, it gets an answer: never a 5xx, never a 200 with NaN."""

import json
import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

NUMBERS = st.one_of(
    st.floats(width=32, allow_nan=False, allow_infinity=False),
    st.integers(-(2**70), 2**70),
    st.sampled_from([0, -0.0, 1, 1e-45, 1e19, 3e38, 1e39, 1e308, True, None, "1"]),
)
NESTED = st.recursive(NUMBERS, lambda inner: st.lists(inner, max_size=3), max_leaves=12)
KEYS = ["shape", "dtype", "base64", "name", "target", "probability", "eps", "label", "weight", "kind"]
JUNK = st.recursive(
    st.one_of(NUMBERS, st.text(max_size=5), st.sampled_from(["entropy", "cross_entropy", "float32", "AAAAAA=="])),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)),
    max_leaves=10,
)
SIZES = st.integers(1, 3)


@st.composite
def tensors(draw: st.DrawFn) -> dict[str, Any]:
    n, m, d = draw(SIZES), draw(SIZES), draw(SIZES)
    number = st.one_of(st.floats(-4, 4), st.sampled_from([0.0, 1e19, -1e30, 3e38, 1e300]))
    rows = {
        name: draw(st.lists(st.lists(number, min_size=d, max_size=d), min_size=size, max_size=size))
        for name, size in (("query", n), ("key", m), ("value", m))
    }
    lengths = st.lists(st.integers(-1, 4), min_size=1, max_size=1)
    mask = st.lists(st.lists(st.booleans(), min_size=m, max_size=m), min_size=n, max_size=n)
    probability = st.lists(
        st.lists(st.sampled_from([0, 0.5, 1, 1 / m]), min_size=m, max_size=m), min_size=n, max_size=n
    )
    statistics = ["output", "weights", "lse", "entropy", "max", "received", "top", "loss", "grad", "per_query"]
    options = {
        "mask": mask,
        "causal": st.booleans(),
        "scale": st.sampled_from([0, 1, -1e3, 1e38, 1e308]),
        "key_lengths": lengths,
        "query_lengths": lengths,
        "dtype": st.sampled_from(["float32", "float64", "bfloat16", "float16"]),
        "top_k": st.integers(1, 3),
        "return": st.lists(st.sampled_from(statistics), min_size=1, max_size=4),
        "probability": probability,
        "losses": st.just([{"name": "entropy"}, {"name": "cross_entropy", "target": [0] * n}]),
        "reduction": st.sampled_from(["none", "mean", "sum"]),
    }
    chosen = draw(st.lists(st.sampled_from(sorted(options)), max_size=5, unique=True))
    return rows | {name: draw(options[name]) for name in chosen}


BODIES = st.one_of(
    tensors().map(json.dumps),
    st.fixed_dictionaries({"query": NESTED, "key": NESTED}, optional={"value": NESTED, "mask": NESTED}).map(json.dumps),
    st.tuples(tensors(), st.sampled_from(["query", "mask", "losses", "return", "scale", "x"]), JUNK).map(
        lambda parts: json.dumps(parts[0] | {parts[1]: parts[2]})
    ),
    st.tuples(tensors().map(json.dumps), st.integers(0, 400)).map(lambda parts: parts[0][: parts[1]]),
    st.text(alphabet='{}[]",:1.e-ntrue\\u0 ', max_size=30),
)


def assert_finite(value: Any, name: str) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            assert_finite(item, key)
    elif isinstance(value, list):
        for item in value:
            assert_finite(item, name)
    elif value is None:
        assert name == "lse"
    elif isinstance(value, float):
        assert math.isfinite(value), name


def no_constant(name: str) -> None:
    raise AssertionError(f"{name} in an answer")


@pytest.mark.parametrize("path", ["/attention", "/loss"])
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
@given(body=BODIES)
def test_no_body_gives_a_5xx_or_a_200_with_nan(server: Any, path: str, body: str) -> None:
    answer = server.client.post(path, content=body.encode("utf-8", "surrogatepass"))
    assert answer.status_code in (200, 400, 413, 422), (body, answer.text[:300])
    if answer.status_code == 200:
        assert_finite(json.loads(answer.text, parse_constant=no_constant), "answer")
    else:
        assert answer.json()["request_id"] == answer.headers["x-request-id"]
