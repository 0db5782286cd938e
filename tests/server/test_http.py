"""Around an answer: compression, request ids, timings, documents, and what other requests may not change."""

import gzip
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from attnloss.registry import LOSSES

LARGE = {"query": np.ones((64, 2)).tolist(), "key": np.ones((64, 2)).tolist(), "return": ["weights"]}


@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        ("gzip", "gzip"),
        ("gzip;q=0.5", "gzip"),
        ("gzip, identity;q=0.5", "gzip"),
        ("gzip, deflate", None),
        ("gzip;q=0", None),
        ("identity", None),
        ("", None),
    ],
)
def test_only_a_client_that_asks_for_gzip_alone_gets_it(client: httpx.Client, accept: str, coding: str) -> None:
    answer = client.post("/attention", json=LARGE, headers={"accept-encoding": accept}).raise_for_status()
    assert answer.headers.get("content-encoding") == coding
    assert answer.json()["weights"][0][0] == pytest.approx(1 / 64)


def test_the_default_client_gets_no_gzip(client: httpx.Client) -> None:
    assert "content-encoding" not in client.post("/attention", json=LARGE).raise_for_status().headers


@pytest.mark.parametrize("members", [1, 3])
def test_a_gzip_request_is_read(client: httpx.Client, members: int) -> None:
    body = json.dumps(LARGE).encode()
    cuts = [len(body) * i // members for i in range(members + 1)]
    packed = b"".join(gzip.compress(body[cuts[i] : cuts[i + 1]]) for i in range(members))
    answer = client.post("/attention", content=packed, headers={"content-encoding": "gzip"}).raise_for_status()
    assert np.shape(answer.json()["weights"]) == (64, 64)


@pytest.mark.parametrize("body", [LARGE, {"query": 1}], ids=["200", "422"])
@pytest.mark.parametrize("path", ["/attention", "/loss", "/health/live", "/nowhere"])
@pytest.mark.parametrize("given", ["a", "A-1._z", "x" * 128])
def test_a_request_id_is_echoed(client: httpx.Client, path: str, body: Any, given: str) -> None:
    answer = client.post(path, json=body, headers={"x-request-id": given})
    assert answer.headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", "a/b", "ä".encode("latin-1"), "<a>"])
def test_a_request_id_of_other_signs_is_replaced(client: httpx.Client, given: str | bytes) -> None:
    value = given.encode() if isinstance(given, str) else given
    made = {client.get("/health/live", headers={b"x-request-id": value}).headers["x-request-id"] for _ in range(2)}
    assert len(made) == 2
    assert value.decode("latin-1") not in made
    assert all(0 < len(request_id) <= 128 for request_id in made)


@pytest.mark.parametrize("path", ["/attention", "/loss"])
def test_server_timing_tells_every_stage(client: httpx.Client, path: str) -> None:
    returns = ["weights"] if path == "/attention" else ["loss"]
    answer = client.post(path, json=LARGE | {"return": returns}).raise_for_status()
    stages = dict(part.split(";dur=") for part in answer.headers["server-timing"].split(", "))
    assert list(stages) == ["decode", "queue", "compute", "encode"]
    assert all(0 <= float(spent_ms) < 60_000 for spent_ms in stages.values())


def random_job(rng: np.random.Generator) -> tuple[str, dict[str, Any]]:
    n, m, heads = (int(size) for size in rng.integers(1, 40, 3))
    lead = [(), (2,), (2, heads % 4 + 1)][rng.integers(3)]
    query, key = rng.standard_normal((*lead, n, 8)), rng.standard_normal((*lead, m, 8))
    body: dict[str, Any] = {"query": query.tolist(), "key": key.tolist(), "causal": bool(rng.integers(2))}
    if rng.integers(3) == 0:
        body["mask"] = (rng.random((n, m)) < 0.7).tolist()
    if lead and rng.integers(2):
        body["key_lengths"] = rng.integers(0, m + 1, 2).tolist()
    if rng.integers(2):
        body["reduction"] = ["none", "mean", "sum"][rng.integers(3)]
        return "/loss", body | {"return": ["loss", "per_query", "grad", "lse"]}
    return "/attention", body | {"return": ["weights", "lse", "entropy", "max", "received"]}


def assert_alike(one: Any, other: Any, place: str) -> None:
    assert type(one) is type(other), place
    if isinstance(one, dict):
        assert one.keys() == other.keys(), place
        for name in one.keys() - {"backend"}:
            assert_alike(one[name], other[name], f"{place}.{name}")
    elif isinstance(one, list | float):
        numbers = [np.array(numbers, float) for numbers in (one, other)]  # null becomes NaN
        np.testing.assert_allclose(*numbers, atol=1e-5, rtol=1e-5, equal_nan=True, err_msg=place)
    else:
        assert one == other, place


def test_an_answer_does_not_depend_on_the_requests_beside_it(server: Any) -> None:
    rng = np.random.default_rng(12)
    jobs = [random_job(rng) for _ in range(64)]
    alone = [server.post(path, body) for path, body in jobs]
    together = threading.Barrier(16)

    def ask(job: tuple[str, dict[str, Any]]) -> Any:
        with server.make_client() as client:
            together.wait(20)
            answer = client.post(job[0], json=job[1])
        return answer.raise_for_status().json()

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, jobs))
    for i, (answer, expected) in enumerate(zip(answers, alone, strict=True)):
        assert_alike(answer, expected, f"{jobs[i][0]} {i}")


def test_health_tells_the_worker(client: httpx.Client) -> None:
    assert client.get("/health/live").status_code == 200
    health = client.get("/health/ready").raise_for_status().json()
    assert health == {
        "ready": True,
        "workers": [{"pid": health["workers"][0]["pid"], "device": "cpu", "state": "ready"}],
        "models": {"default": health["models"]["default"]},
    }
    assert health["models"]["default"] in ("loading", "ready")


def test_losses_lists_every_loss(client: httpx.Client) -> None:
    listed = {spec["name"]: spec for spec in client.get("/losses").raise_for_status().json()["losses"]}
    assert listed.keys() == LOSSES.keys()
    for name, spec in listed.items():
        assert {"parameters", "needs", "differentiable", "per_query", "formula", "summary"} <= spec.keys()
        assert [item["name"] for item in spec["parameters"]] == [item.name for item in LOSSES[name].parameters]


def test_the_embedded_model_is_told(client: httpx.Client) -> None:
    assert [entry["name"] for entry in client.get("/models").raise_for_status().json()["models"]] == ["default"]


def test_docs_are_a_page(client: httpx.Client) -> None:
    answer = client.get("/docs").raise_for_status()
    assert answer.headers["content-type"].startswith("text/html")
    assert "http" not in answer.text  # nothing comes from another host


@pytest.mark.parametrize("path", ["/attention", "/loss"])
def test_the_example_in_openapi_is_answered(server: Any, path: str) -> None:
    document = server.client.get("/openapi.json").raise_for_status().json()
    operation = document["paths"][path]["post"]
    content = operation["requestBody"]["content"]["application/json"]
    assert {"200", "400", "404", "413", "415", "422", "429", "503", "504"} <= operation["responses"].keys()
    for reference, example in zip(content["schema"]["anyOf"], content["examples"].values(), strict=True):
        schema = document["components"]["schemas"][reference["$ref"].rpartition("/")[2]]
        assert example["value"].keys() <= schema["properties"].keys()
    example = content["examples"]["tensors"]["value"]
    assert set(example["return"]) <= server.post(path, example).keys()


@pytest.mark.parametrize(
    "family",
    [
        'attnloss_requests_total{route="/attention",status="200"}',
        "attnloss_stage_seconds_bucket",
        'attnloss_stage_seconds_count{route="/attention",stage="compute"}',
        "attnloss_queue_jobs",
        "attnloss_batch_jobs_bucket",
    ],
)
def test_metrics_are_exposed(server: Any, family: str) -> None:
    server.is_right()
    answer = server.client.get("/metrics").raise_for_status()
    assert answer.headers["content-type"].startswith("text/plain")
    assert family in answer.text


def test_only_the_worker_and_its_template_load_torch(server: Any) -> None:
    workers = {p.pid for p in server.processes() if "service.worker_main" in p.cmdline()}
    with_torch = {p.pid for p in server.processes() if "libtorch" in Path(f"/proc/{p.pid}/maps").read_text()}
    assert server.worker_pid() in with_torch
    assert with_torch == workers
