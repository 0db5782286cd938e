"""Compose's own reading of docker-compose.yml: what each profile starts, and what the GPU's service asks for."""

import json

import pytest

from tests.docker.compose import Compose

STARTS = {
    None: {"attnloss"},
    "gpu": {"attnloss", "attnloss-gpu"},
    "observability": {"attnloss", "prometheus", "grafana"},
    "replicas": {"attnloss", "replica", "nginx"},
}

pytestmark = pytest.mark.docker


@pytest.mark.parametrize("profile", STARTS)
def test_a_profile_starts_the_service_and_what_belongs_to_the_profile(built: Compose, profile: str | None) -> None:
    chosen = [] if profile is None else ["--profile", profile]
    assert set(built(*chosen, "config", "--services").split()) == STARTS[profile]


def test_the_gpu_is_reserved_and_served_on_a_port_of_its_own(built: Compose) -> None:
    services = json.loads(built("--profile", "gpu", "config", "--format", "json"))["services"]
    (device,) = services["attnloss-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
    ports = {name: service["ports"][0]["published"] for name, service in services.items()}
    assert ports["attnloss-gpu"] not in (None, ports["attnloss"])
