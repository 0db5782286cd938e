"""An answer does not depend on batch-mates: any batch against the same jobs computed one by one."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.batcher import Batch, Batcher, BatchLimits
from service.cost import CostModel
from service.job import Job
from service.settings import Settings
from service.validate import attention_job, loss_job
from service.worker import Worker

pytestmark = pytest.mark.filterwarnings("ignore:The given NumPy array is not writable")

ALWAYS_BATCH = CostModel(call_s=1e6, element_s=1e-9, padded_element_s=1e-9)
SETTINGS = Settings()
D, VALUE_D = 4, 3


@st.composite
def fields_of(draw: st.DrawFn, common: dict[str, Any], ragged: bool, number: int) -> dict[str, Any]:
    """A request's fields; all requests of one call share what `common` says and may differ in the rest."""
    rng = np.random.default_rng([common["seed"], number])
    n, m = (draw(st.integers(1, 6)), draw(st.integers(1, 6))) if ragged else (common["n"], common["m"])
    lead = {2: (), 3: (draw(st.integers(1, 2)),), 4: (draw(st.integers(1, 2)), common["heads"])}[common["rank"]]
    key_lead = (*lead[:1], common["key_heads"]) if len(lead) == 2 else lead
    fields: dict[str, Any] = {
        "query": rng.normal(size=(*lead, n, D)),
        "key": rng.normal(size=(*key_lead, m, D)),
        "value": rng.normal(size=(*key_lead, m, VALUE_D)),
        "causal": common["causal"],
        "dtype": common["dtype"],
    }
    batch = lead[0] if lead else 1
    if common["mask"]:
        shape = (n, m) if draw(st.booleans()) else (*lead, draw(st.sampled_from([1, n])), draw(st.sampled_from([1, m])))
        fields["mask"] = rng.random(shape) < 0.7
    for name, most in (("query_lengths", n), ("key_lengths", m)):
        if draw(st.booleans()):
            fields[name] = [draw(st.integers(0, most)) for _ in range(batch)]
    return fields


commons = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**16),
        "rank": st.sampled_from([2, 3, 4]),
        "n": st.integers(1, 6),
        "m": st.integers(1, 6),
        "causal": st.booleans(),
        "mask": st.booleans(),
        "dtype": st.sampled_from(["float32", "float64"]),
        "heads": st.just(4),
        "key_heads": st.sampled_from([1, 2, 4]),
    }
)


@st.composite
def attention_bodies(draw: st.DrawFn) -> list[dict[str, Any]]:
    common, ragged = draw(commons), draw(st.booleans())
    asked = draw(
        st.sets(st.sampled_from(["output", "weights", "lse", "entropy", "max", "received", "top"]), min_size=1)
    )
    extra: dict[str, Any] = {"return": sorted(asked)} | ({"top_k": 1} if "top" in asked else {})
    if "weights" in asked and draw(st.booleans()):
        extra |= {"queries": [0, 1]} | ({"keys": [0, 1]} if draw(st.booleans()) else {})
    count = draw(st.integers(1, 4))
    return [draw(fields_of(common, ragged, number)) | extra for number in range(count)]


@st.composite
def loss_bodies(draw: st.DrawFn) -> list[dict[str, Any]]:
    common, ragged, kinds = draw(commons), draw(st.booleans()), draw(st.sets(st.sampled_from("eitp"), min_size=1))
    asked = draw(st.sets(st.sampled_from(["loss", "per_query", "grad", "lse", "weights", "output"]), min_size=1))
    bodies = []
    for number in range(draw(st.integers(1, 4))):
        fields = draw(fields_of(common, ragged, number))
        rng = np.random.default_rng([common["seed"], number, 1])
        n, m = fields["query"].shape[-2], fields["key"].shape[-2]
        shape = (n, m) if draw(st.booleans()) else (*fields["query"].shape[:-2], n, m)
        losses: list[dict[str, Any]] = [{"name": "entropy", "weight": draw(st.floats(-2, 2))}] if "e" in kinds else []
        if "i" in kinds:
            index = rng.integers(0, m, shape[:-1])
            losses.append(
                {"name": "cross_entropy", "target": index, "kind": "index", "eps": 1e-3, "label": f"i{number}"}
            )
        for letter, name in (("t", "target"), ("p", "probability")):
            if letter in kinds and not (common["mask"] or common["causal"] or "key_lengths" in fields):
                rows = rng.random(shape) + 0.1
                rows /= rows.sum(-1, keepdims=True)
                losses.append({"name": "cross_entropy", name: rows, "label": letter})
        body = {"losses": losses} if losses else {}
        body |= {"return": sorted(asked), "reduction": draw(st.sampled_from(["mean", "sum", "none"]))}
        bodies.append(fields | body)
    return bodies


def batches_of(jobs: list[Job]) -> list[Batch]:
    batcher = Batcher(BatchLimits(max_cost=1 << 30, max_jobs=64), ALWAYS_BATCH)
    for job in jobs:
        batcher.put(job)
    return list(iter(batcher.take, None))


def assert_same(together: Any, alone: Any, path: str = "") -> None:
    if isinstance(alone, dict):
        assert list(together) == list(alone), path
        for key, value in alone.items():
            assert_same(together[key], value, f"{path}.{key}")
    elif isinstance(alone, (np.ndarray, np.floating)):
        assert together.shape == alone.shape, path
        np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-5, err_msg=path, strict=True)
    elif path != ".backend":
        assert together == alone, path


def assert_independent(jobs: list[Job]) -> None:
    worker = Worker()
    for batch in batches_of(jobs):
        outcomes = worker.run(batch)
        assert [outcome.job_id for outcome in outcomes] == [job.id for job in batch.jobs]
        for job, outcome in zip(batch.jobs, outcomes, strict=True):
            (alone,) = worker.run(Batch((job,), job.cost, padded=False))
            assert outcome.error is alone.error is None
            assert_same(outcome.result, alone.result)


@settings(max_examples=150)
@given(attention_bodies())
def test_attention_does_not_depend_on_batch_mates(bodies: list[dict[str, Any]]) -> None:
    assert_independent([attention_job(body, SETTINGS, bytes([i]) * 16) for i, body in enumerate(bodies)])


@settings(max_examples=150)
@given(loss_bodies())
def test_losses_and_gradients_do_not_depend_on_batch_mates(bodies: list[dict[str, Any]]) -> None:
    assert_independent([loss_job(body, SETTINGS, bytes([i]) * 16) for i, body in enumerate(bodies)])


def test_jobs_that_differ_in_shape_lengths_and_rank_make_one_padded_batch() -> None:
    rng = np.random.default_rng(0)

    def fields(*shape: int, **more: Any) -> dict[str, Any]:
        return {"query": rng.normal(size=(*shape, D)), "key": rng.normal(size=(*shape, D)), "return": ["lse"]} | more

    several = [fields(3), fields(2, 5), fields(2, 1, 4, key_lengths=[2, 3])]
    jobs = [attention_job(each, SETTINGS, bytes([i]) * 16) for i, each in enumerate(several)]
    (batch,) = batches_of(jobs)
    assert batch.padded
    assert_independent(jobs)
