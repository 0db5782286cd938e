"""`--profile observability`: Prometheus finds the service, knows its alerts, and sees what is asked of it.

Grafana's image cannot be built from Debian's packages: its files are checked in tests/deploy.
"""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.docker.compose import TENSORS, Compose, say, until

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def prometheus(compose: Compose, observability_images: None) -> Iterator[httpx.Client]:
    """A client of the Prometheus that the profile starts."""
    try:
        compose("--profile", "observability", "up", "--detach", "prometheus")
        with compose.client("PROMETHEUS") as client:
            until(lambda: is_ready(client), "ready")
            yield client
    except AssertionError:
        say(compose("--profile", "observability", "logs", "--no-color", "--tail", "50", "prometheus"))
        raise
    finally:
        compose("--profile", "observability", "rm", "--stop", "--force", "prometheus")


def is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/-/ready").status_code == 200
    except httpx.TransportError:
        return False


def ask(prometheus: httpx.Client, expression: str) -> list[dict[str, Any]]:
    answer = prometheus.get("/api/v1/query", params={"query": expression}).raise_for_status().json()
    return list(answer["data"]["result"])


def test_it_finds_the_service_by_its_name(prometheus: httpx.Client) -> None:
    took_s = until(lambda: bool(ask(prometheus, 'up{job="attnloss", service="attnloss"} == 1')), "scraped")
    say(f"Prometheus scraped the service {took_s:.1f} s after it was ready")


def test_it_counts_what_the_service_is_asked(client: httpx.Client, prometheus: httpx.Client) -> None:
    expression = 'sum(attnloss_requests_total{route="/attention", status="200"})'
    client.post("/attention", json=TENSORS).raise_for_status()
    until(lambda: bool(ask(prometheus, expression)), "counted")
    before = float(ask(prometheus, expression)[0]["value"][1])
    for _ in range(3):
        client.post("/attention", json=TENSORS).raise_for_status()
    until(lambda: float(ask(prometheus, expression)[0]["value"][1]) >= before + 3, "counted")


def test_it_has_loaded_the_alerts_and_evaluates_them(prometheus: httpx.Client) -> None:
    def rules() -> list[dict[str, Any]]:
        groups = prometheus.get("/api/v1/rules").raise_for_status().json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    until(lambda: all(rule["health"] != "unknown" for rule in rules()), "evaluated")
    assert {rule["health"] for rule in rules()} == {"ok"}
    assert "AttnlossDown" in {rule["name"] for rule in rules()}
    assert [rule["name"] for rule in rules() if rule["state"] == "firing"] == []
