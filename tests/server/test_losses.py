"""Every loss that GET /losses tells of, asked for as a client would who knows nothing else."""

import math
from typing import Any

import numpy as np
import pytest

N, M = 6, 5
RNG = np.random.default_rng(5)


def tensor(*shape: int) -> Any:
    return RNG.standard_normal(shape).tolist()


ARRAYS = {
    "target": lambda: [i % M for i in range(N)],
    "index": lambda: [i * M // N for i in range(N)],
    "positions": lambda: [i * (M - 1) / N for i in range(N)],
    "other": lambda: {"query": tensor(1, 2, N, 3), "key": tensor(1, 2, M, 3)},
}


def entry_of(spec: dict[str, Any]) -> dict[str, Any]:
    """The loss with what it needs, as its parameters tell."""
    required = {part["name"]: ARRAYS[part["kind"]]() for part in spec["parameters"] if part["required"]}
    if spec["name"] == "cross_entropy":
        required["target"] = ARRAYS["target"]()
    return {"name": spec["name"], **required}


def test_every_listed_loss_answers_with_its_gradient(server: Any, client: Any) -> None:
    for spec in client.get("/losses").json()["losses"]:
        body = {"query": tensor(1, 2, N, 4), "key": tensor(1, 2, M, 4), "losses": [entry_of(spec)]}
        answer = server.post("/loss", body | {"return": ["loss", "per_query", "grad"]})
        assert math.isfinite(answer["loss"]), spec["name"]
        assert answer["losses"] == {spec["name"]: answer["loss"]}
        assert np.shape(answer["grad"]["query"]) == (1, 2, N, 4)
        per_query = np.shape(answer["per_query"][spec["name"]])
        assert (per_query == (1, 2, N)) == spec["per_query"]


def test_every_compat_mode_answers(server: Any, client: Any) -> None:
    for spec in client.get("/losses").json()["losses"]:
        for choice in next((part["choices"] for part in spec["parameters"] if part["name"] == "compat"), ()):
            entry = entry_of(spec) | {"compat": choice}
            body = {"query": tensor(1, 2, N, 4), "key": tensor(1, 2, M, 4), "losses": [entry]}
            assert math.isfinite(server.post("/loss", body)["loss"]), (spec["name"], choice)


def test_all_losses_of_one_request_are_those_of_single_requests(server: Any, client: Any) -> None:
    entries = [entry_of(spec) for spec in client.get("/losses").json()["losses"]]
    tensors = {"query": tensor(1, 2, N, 4), "key": tensor(1, 2, M, 4)}
    together = server.post("/loss", tensors | {"losses": entries})["losses"]
    for entry in entries:
        alone = server.post("/loss", tensors | {"losses": [entry]})["loss"]
        assert together[entry["name"]] == pytest.approx(alone, rel=1e-4, abs=1e-6)


def test_the_openapi_document_tells_every_loss_and_parameter(client: Any) -> None:
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    shown = {
        schema["properties"]["name"]["const"]: set(schema["properties"])
        for title, schema in schemas.items()
        if not title.endswith("TextLoss") and "const" in schema.get("properties", {}).get("name", {})
    }
    for spec in client.get("/losses").json()["losses"]:
        assert {part["name"] for part in spec["parameters"]} < shown[spec["name"]], spec["name"]
