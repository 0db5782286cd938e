from typing import Any

import numpy as np
import pytest
import torch

from service import evaluate as evaluate_module
from service.batcher import Batch
from service.codec import encode_json
from service.job import Job, Outcome
from service.settings import Settings
from service.validate import attention_job, loss_job
from service.worker import Worker

pytestmark = pytest.mark.filterwarnings("ignore:The given NumPy array is not writable")

SETTINGS = Settings()


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def attention(number: int = 0, n: int = 3, lead: tuple[int, ...] = (), **fields: Any) -> Job:
    body = {"query": numbers(*lead, n, 4, seed=number), "key": numbers(*lead, n, 4, seed=number + 100)} | fields
    return attention_job({"return": ["weights", "lse"], **body}, SETTINGS, number.to_bytes(16, "big"))


def loss(number: int = 0, n: int = 3, lead: tuple[int, ...] = (), **fields: Any) -> Job:
    body = {"query": numbers(*lead, n, 4, seed=number), "key": numbers(*lead, n, 4, seed=number + 100)} | fields
    return loss_job(body, SETTINGS, number.to_bytes(16, "big"))


def run(*jobs: Job, padded: bool = False) -> list[Outcome]:
    outcomes = Worker().run(Batch(jobs, sum(job.cost for job in jobs), padded))
    assert [outcome.job_id for outcome in outcomes] == [job.id for job in jobs]
    for outcome in outcomes:
        assert (outcome.result is None) != (outcome.error is None)
    return outcomes


def error_of(outcome: Outcome) -> dict[str, Any]:
    assert outcome.error is not None
    return outcome.error


def result_of(outcome: Outcome) -> dict[str, Any]:
    assert outcome.result is not None, outcome.error
    return outcome.result


def with_target(number: int, total: float, **fields: Any) -> Job:
    target = np.full((3, 3), 1 / 3)
    target[1] *= total
    return loss(number, losses=[{"name": "entropy"}, {"name": "cross_entropy", "target": target}], **fields)


@pytest.mark.parametrize("bad", [0, 1, 2])
def test_a_job_whose_target_is_no_distribution_fails_alone_and_its_batch_mates_are_right(bad: int) -> None:
    jobs = [with_target(i, 2.0 if i == bad else 1.0) for i in range(3)]
    outcomes = run(*jobs)
    for i, (job, outcome) in enumerate(zip(jobs, outcomes, strict=True)):
        if i == bad:
            assert error_of(outcome)["slug"] == "invalid"
        else:
            (alone,) = run(job)
            assert result_of(outcome)["loss"] == pytest.approx(result_of(alone)["loss"], rel=1e-5)


@pytest.mark.parametrize(
    ("lead", "shape", "where"),
    [
        ((), (3,), "losses[1].target[1]"),
        ((2,), (2, 3), "losses[1].target[1][1]"),
        ((2, 2), (2, 2, 3), "losses[1].target[1][1][1]"),
        ((2,), (1, 3), "losses[1].target[0][1]"),
        ((2,), (3,), "losses[1].target[1]"),
        ((2, 2), (3,), "losses[1].target[1]"),
    ],
)
@pytest.mark.parametrize("kind", ["index", "dense"])
def test_a_wrong_target_is_named_by_its_place_in_the_request(
    lead: tuple[int, ...], shape: tuple[int, ...], where: str, kind: str
) -> None:
    last = tuple(size - 1 for size in shape[:-1])
    if kind == "index":
        target = np.zeros(shape, np.int64)
        target[(*last, 1)] = 7
    else:
        target = np.full((*shape, 3), 1 / 3)
        target[(*last, 1)] = 0.5
    entry = {"name": "cross_entropy", "target": target, "kind": kind}
    (outcome,) = run(loss(lead=lead, losses=[{"name": "entropy"}, entry]))
    (problem,) = error_of(outcome)["errors"]
    assert error_of(outcome)["slug"] == "invalid"
    assert problem["field"] == where


def test_a_loss_that_would_be_infinite_names_the_query() -> None:
    probability = np.array([[0.5, 0.25, 0.25], [1.0, 0.0, 0.0], [0.2, 0.3, 0.5]])
    (outcome,) = run(loss(probability=probability))
    assert error_of(outcome)["errors"][0]["field"] == "probability[1]"


def test_of_two_wrong_targets_the_first_is_named() -> None:
    entries = [{"name": "cross_entropy", "target": np.full((3, 3), x), "label": str(x)} for x in (0.5, 0.7)]
    (outcome,) = run(loss(losses=entries))
    assert error_of(outcome)["errors"][0]["field"] == "losses[0].target[0]"


@pytest.mark.parametrize("jobs", [1, 3])
def test_a_device_out_of_memory_is_told_as_too_large_job_by_job(monkeypatch: pytest.MonkeyPatch, jobs: int) -> None:
    evaluate = evaluate_module.evaluate_losses

    def runs_out(scores: Any, made: Any, wanted: Any) -> Any:
        if scores.shape[0] > 1 or float(scores.query.max()) > 50:
            raise torch.OutOfMemoryError("out of memory")
        return evaluate(scores, made, wanted)

    monkeypatch.setattr(evaluate_module, "evaluate_losses", runs_out)
    big = attention(0, query=np.full((3, 4), 100.0))
    first, *others = run(big, *(attention(i) for i in range(1, jobs)))
    assert error_of(first)["slug"] == "too-large"
    assert str(big.cost) in error_of(first)["detail"]
    assert all(outcome.error is None for outcome in others)


def test_a_crash_is_told_without_its_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    def crashes(*_: Any) -> Any:
        raise RuntimeError("secret path /etc")

    monkeypatch.setattr(evaluate_module, "evaluate_losses", crashes)
    for outcome in run(attention(0), attention(1)):
        assert error_of(outcome)["slug"] == "compute-failed"
        assert "secret" not in str(outcome.error)


def test_scores_that_overflow_are_invalid_and_batch_mates_are_right() -> None:
    jobs = [attention(0), attention(1, query=np.full((3, 4), 1e38), key=np.full((3, 4), 1e38)), attention(2)]
    first, second, third = run(*jobs)
    assert error_of(second)["errors"][0]["field"] == "query"
    for job, outcome in ((jobs[0], first), (jobs[2], third)):
        (alone,) = run(job)
        np.testing.assert_allclose(result_of(outcome)["weights"], result_of(alone)["weights"], rtol=1e-5)


def test_a_sum_of_losses_that_overflows_is_invalid() -> None:
    (outcome,) = run(loss(losses=[{"name": "entropy", "weight": 3e38}], reduction="sum"))
    assert error_of(outcome)["slug"] == "invalid"


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
def test_every_number_of_an_answer_is_finite_but_the_lse_of_a_masked_query(dtype: str) -> None:
    asked = ["output", "weights", "lse", "entropy", "max", "received", "top", "loss", "per_query", "grad"]
    job = loss(
        value=numbers(3, 2), dtype=dtype, mask=np.eye(3, dtype=bool) & [False, True, True], **{"return": asked}, top_k=2
    )
    (outcome,) = run(job)
    result = result_of(outcome)
    assert set(result) == {*asked, "losses", "backend", "device"}
    assert np.isneginf(result["lse"]).tolist() == [True, False, False]
    assert result["top"]["index"][0].tolist() == [-1, -1]
    for name in ("output", "weights", "entropy", "max", "received", "loss", "per_query", "grad"):
        parts = result[name].values() if isinstance(result[name], dict) else [result[name]]
        assert all(np.isfinite(part).all() for part in parts), name
    assert encode_json(result).count(b"null") == 1


@pytest.mark.parametrize(
    ("dtype", "answered"), [("float32", "float32"), ("float64", "float64"), ("bfloat16", "float32")]
)
def test_answers_are_float32_or_float64_if_asked(dtype: str, answered: str) -> None:
    (outcome,) = run(loss(dtype=dtype, value=numbers(3, 2), **{"return": ["loss", "grad", "output", "per_query"]}))
    result = result_of(outcome)
    arrays = [result["loss"], result["output"], result["per_query"]["entropy"], *result["grad"].values()]
    assert {array.dtype.name for array in arrays} == {answered}


@pytest.mark.parametrize("name", ["entropy", "row_sum"])
def test_a_loss_without_any_valid_query_is_zero_with_zero_gradients(name: str) -> None:
    (outcome,) = run(loss(key_lengths=[0], losses=[{"name": name}], **{"return": ["loss", "grad"]}))
    assert result_of(outcome)["loss"] == 0
    assert not np.any(result_of(outcome)["grad"]["query"])


def test_the_loss_is_the_weighted_sum_of_its_parts() -> None:
    entries = [
        {"name": "entropy", "weight": 2.0},
        {"name": "cross_entropy", "target": np.array([0, 1, 2]), "weight": -0.5},
    ]
    result = result_of(run(loss(losses=entries))[0])
    parts = result["losses"]
    assert result["loss"] == pytest.approx(2 * parts["entropy"] - 0.5 * parts["cross_entropy"], rel=1e-6)


def test_times_are_told_with_every_outcome() -> None:
    (outcome,) = run(attention())
    assert outcome.queue_s >= 0
    assert outcome.compute_s > 0
