"""Every loss of the registry as a job: its arrays checked, computed alone and with batch-mates as the library does."""

from typing import Any

import numpy as np
import pytest
import torch

from attnloss import losses
from attnloss.registry import LOSSES
from service.batcher import Batch
from service.errors import Invalid
from service.job import Job, Outcome
from service.settings import Settings
from service.validate import loss_job
from service.worker import Worker

pytestmark = pytest.mark.filterwarnings("ignore:The given NumPy array is not writable")

TWO_MAPS = [name for name, spec in LOSSES.items() if any(part.kind == "other" for part in spec.parameters)]
NEEDS_MORE_QUERIES_THAN_KEYS = ("forward_sum", "bin")
BATCH, HEADS, KEY_HEADS, D = 2, 4, 2, 5
COMPAT = [
    (name, choice)
    for name, spec in LOSSES.items()
    for parameter in spec.parameters
    if parameter.name == "compat"
    for choice in parameter.choices
]


def request(name: str, seed: int = 0, n: int = 7, m: int = 5, **entry: Any) -> dict[str, Any]:
    """A body for the loss, whose targets any query may attend to."""
    rng = np.random.default_rng([seed, n, m])
    fields: dict[str, Any] = {
        "query": rng.normal(size=(BATCH, HEADS, n, D)),
        "key": rng.normal(size=(BATCH, KEY_HEADS, m, D)),
        "dtype": "float64",
    }
    extra: dict[str, Any] = {}
    if name in TWO_MAPS:
        query, key = rng.normal(size=(BATCH, HEADS, n, 3)), rng.normal(size=(BATCH, 1, m, 3))
        extra["other"] = {"query": query, "key": key, "scale": 0.7}
    if name in ("cross_entropy", "entmax", "sparsemax", "permutation", "order"):
        extra["target"] = rng.integers(0, m, size=(BATCH, HEADS, n))
    return fields | {"losses": [{"name": name, **extra, **entry}]}


def job(fields: dict[str, Any], number: int = 0, **more: Any) -> Job:
    return loss_job({"return": ["loss", "per_query", "grad"], **fields, **more}, Settings(), bytes([number]) * 16)


def run(*jobs: Job, padded: bool = False) -> list[Outcome]:
    return Worker(Settings(device="cpu", cpu_threads=1)).run(Batch(jobs, sum(job.cost for job in jobs), padded=padded))


def alone(fields: dict[str, Any], **more: Any) -> dict[str, Any]:
    (outcome,) = run(job(fields, **more))
    assert outcome.error is None, outcome.error
    assert outcome.result is not None
    return outcome.result


def library(fields: dict[str, Any], **options: Any) -> torch.Tensor:
    entry = dict(fields["losses"][0])
    arguments = [torch.tensor(fields["query"]), torch.tensor(fields["key"])]
    if "other" in entry:
        other = entry.pop("other")
        arguments += [torch.tensor(other["query"]), torch.tensor(other["key"])]
        options["other_scale"] = other["scale"]
    parameters = {key: torch.tensor(item) if isinstance(item, np.ndarray) else item for key, item in entry.items()}
    parameters.pop("label", None)
    loss: torch.Tensor = getattr(losses, parameters.pop("name"))(*arguments, **parameters, **options)
    return loss


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_answers_as_the_library_does(name: str, reduction: str) -> None:
    fields = request(name)
    result = alone(fields, reduction=reduction)
    expected = library(fields, reduction=reduction, backend="reference")
    np.testing.assert_allclose(result["losses"][name], expected, rtol=1e-9, atol=1e-12)
    assert set(result["grad"]) == {"query", "key"}
    assert np.shape(result["losses"][name]) == tuple(expected.shape)


@pytest.mark.parametrize("name", LOSSES)
def test_the_answer_of_every_loss_is_the_same_with_batch_mates_of_other_lengths(name: str) -> None:
    sizes = ((7, 5), (11, 3), (8, 6))
    bodies = [request(name, seed, n, m) for seed, (n, m) in enumerate(sizes)]
    together = run(*(job(body, number) for number, body in enumerate(bodies)), padded=True)
    for body, outcome in zip(bodies, together, strict=True):
        assert outcome.error is None, outcome.error
        assert outcome.result is not None
        expected = alone(body)
        for part in ("losses", "per_query", "grad"):
            for key, value in expected[part].items():
                np.testing.assert_allclose(outcome.result[part][key], value, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(("name", "compat"), COMPAT)
def test_every_compat_mode_is_the_same_with_batch_mates_although_padding_counts_in_some(name: str, compat: str) -> None:
    bodies = [request(name, seed, n, m, compat=compat) for seed, (n, m) in enumerate(((7, 5), (11, 3)))]
    together = run(*(job(body, number) for number, body in enumerate(bodies)), padded=True)
    for body, outcome in zip(bodies, together, strict=True):
        assert outcome.result is not None, outcome.error
        expected = library(body, backend="reference")
        np.testing.assert_allclose(outcome.result["losses"][name], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", [name for name, spec in LOSSES.items() if not spec.per_query])
def test_a_loss_without_values_per_query_gives_one_per_head_or_batch_entry(name: str) -> None:
    shape = np.shape(alone(request(name), reduction="none")["losses"][name])
    assert shape in ((BATCH, HEADS), (BATCH,))


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("name", [name for name in LOSSES if name != "disagreement"])
def test_lower_ranks_answer_in_their_rank(name: str, rank: int) -> None:
    fields = request(name)
    cut = (lambda array: array[0, 0]) if rank == 2 else (lambda array: array[:, 0])
    entry = {key: cut(item) if isinstance(item, np.ndarray) else item for key, item in fields["losses"][0].items()}
    if "other" in entry:
        entry["other"] = {"query": cut(entry["other"]["query"]), "key": cut(entry["other"]["key"]), "scale": 0.7}
    lower = fields | {"query": cut(fields["query"]), "key": cut(fields["key"]), "losses": [entry]}
    result = alone(lower, reduction="none")
    expected = library(lower, reduction="none", backend="reference")
    np.testing.assert_allclose(result["losses"][name], expected, rtol=1e-9, atol=1e-12)


def test_several_losses_share_one_request() -> None:
    names = ["entropy", "guided", "js", "coverage", "disagreement"]
    fields = request("js")
    entries = [request(name)["losses"][0] for name in names]
    result = alone(fields | {"losses": entries})
    for name, entry in zip(names, entries, strict=True):
        expected = library(fields | {"losses": [entry]}, backend="reference")
        np.testing.assert_allclose(result["losses"][name], expected, rtol=1e-9)


def test_a_sparse_target_is_a_dense_one_written_short() -> None:
    keys, shares = np.array([[0, 2], [1, -1], [2, 0]]), np.array([[0.25, 0.75], [1.0, 9.0], [0.5, 0.5]])
    dense = np.array([[0.25, 0, 0.75], [0, 1, 0], [0.5, 0, 0.5]])
    query = np.random.default_rng(3).normal(size=(3, 4))
    fields = {"query": query, "key": query, "dtype": "float64"}
    entries = [
        {"name": "cross_entropy", "target": keys, "target_weights": shares, "label": "sparse"},
        {"name": "cross_entropy", "target": dense, "label": "dense"},
    ]
    found = alone(fields | {"losses": entries})["losses"]
    assert found["sparse"] == pytest.approx(found["dense"])


@pytest.mark.parametrize(
    ("where", "name", "entry"),
    [
        ("losses[0].other", "kl", {"other": None}),
        ("losses[0].other", "kl", {"other": 3}),
        ("losses[0].other.query", "kl", {"other": {"key": np.ones((2, 1, 5, 3))}}),
        ("losses[0].other.query", "js", {"other": {"query": np.ones((2, 4, 6, 3)), "key": np.ones((2, 1, 5, 3))}}),
        ("losses[0].other.key", "js", {"other": {"query": np.ones((2, 4, 7, 3)), "key": np.ones((2, 3, 5, 3))}}),
        ("losses[0].other.key", "js", {"other": {"query": np.ones((2, 4, 7, 3)), "key": np.ones((2, 1, 5, 2))}}),
        ("losses[0].other.mask", "js", {"other": {"query": np.ones(3), "key": np.ones(3), "mask": np.ones(3)}}),
        ("losses[0].temperature", "kl", {"temperature": 0.0}),
        ("losses[0].alpha", "renyi", {"alpha": -1.0}),
        ("losses[0].alpha", "entmax", {"alpha": 1.0}),
        ("losses[0].sigma", "guided", {"sigma": 0.0}),
        ("losses[0].tau", "target_entropy", {"tau": -0.5}),
        ("losses[0].compat", "guided", {"compat": "fairseq"}),
        ("losses[0].keys", "sink", {"keys": []}),
        ("losses[0].keys[0]", "sink", {"keys": [-1]}),
        ("losses[0].keys[1]", "sink", {"keys": [0, 1.5]}),
        ("losses[0].target", "permutation", {"target": None}),
        ("losses[0].target", "permutation", {"target": np.ones((7,))}),
        ("losses[0].target", "order", {"target": np.ones((5,))}),
        ("losses[0].target", "entmax", {"target": np.ones((4, 4))}),
        ("losses[0].target", "cross_entropy", {"target_weights": np.ones((7, 1))}),
        ("losses[0].target_weights", "cross_entropy", {"kind": "sparse"}),
        ("losses[0].smoothing", "cross_entropy", {"smoothing": 1.0}),
    ],
)
def test_a_wrong_parameter_is_named_by_its_place(where: str, name: str, entry: dict[str, Any]) -> None:
    with pytest.raises(Invalid) as caught:
        job(request(name, **entry))
    assert caught.value.errors[0].field == where


@pytest.mark.parametrize(
    ("where", "name", "entry", "more"),
    [
        ("losses[0].keys[1]", "sink", {"keys": [0, 5]}, {}),
        ("query", "forward_sum", {}, {"query_lengths": [3, 7]}),
        ("query", "bin", {}, {"query_lengths": [3, 7]}),
        ("losses[0].compat", "cross_entropy", {"compat": "fairseq", "eps": 0.1}, {}),
    ],
)
def test_what_only_the_worker_sees_is_named_too(
    where: str, name: str, entry: dict[str, Any], more: dict[str, Any]
) -> None:
    (outcome,) = run(job(request(name, **entry), **more))
    assert outcome.error is not None
    assert outcome.error["errors"][0]["field"] == where


def test_losses_that_need_passes_of_their_own_cost_them() -> None:
    plain, double, paths = (job(request(name)).cost for name in ("entropy", "kl", "forward_sum"))
    assert double == 2 * plain
    assert paths > 5 * plain


def test_a_loss_that_goes_through_queries_one_by_one_costs_by_queries() -> None:
    few, many = (job(request("forward_sum", n=n, m=1)).cost for n in (100, 10_000))
    assert many > 90 * few
    assert many > 10_000 * 4096


def test_a_job_that_names_keys_by_number_waits_for_batch_mates_of_its_own_m() -> None:
    groups = {name: [job(request(name, n=7, m=m)).group for m in (3, 5)] for name in ("sink", "order", "entropy")}
    assert [len(set(pair)) for pair in groups.values()] == [2, 2, 1]


def test_score_mse_goes_with_every_other_loss_and_statistic() -> None:
    fields = request("score_mse")
    own = fields["losses"]
    names = ["output", "lse", "entropy", "max", "received", "weights"]
    value = np.ones((BATCH, KEY_HEADS, 5, 3))
    for name in LOSSES:
        both = own + ([] if name == "score_mse" else request(name)["losses"])
        result = alone(fields | {"losses": both, "value": value}, **{"return": ["loss", *names]})
        assert result["losses"]["score_mse"] == pytest.approx(float(library(fields, backend="reference")))
