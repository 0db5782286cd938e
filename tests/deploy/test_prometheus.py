"""Prometheus' own tools on its configuration, and what every alert has to say."""

from typing import Any

import pytest
import yaml

from tests.deploy.files import ALERTS, COMPOSE, DEPLOY, OPERATIONS, anchors
from tests.deploy.programs import promtool

FOLDER = DEPLOY / "prometheus"
CONFIGURATION = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
TESTED = (FOLDER / "alerts_test.yml").read_text()


def test_the_configuration_is_valid() -> None:
    promtool(FOLDER, "check", "config", "--lint=all", "--lint-fatal", "prometheus.yml")


def test_each_alert_fires_when_it_should_and_only_then() -> None:
    promtool(FOLDER, "test", "rules", "alerts_test.yml")


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_has_a_severity_a_reason_a_page_and_a_test(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in ("page", "ticket")
    assert alert["annotations"]["summary"]
    assert len(alert["annotations"]["description"].split()) >= 15, "says why it matters and what to do"
    page, _, anchor = alert["annotations"]["runbook"].partition("#")
    assert page == "docs/operations.md"
    assert anchor in anchors(OPERATIONS)
    assert anchor == alert["alert"].lower()
    assert f"alertname: {alert['alert']}" in TESTED or f'alertname="{alert["alert"]}"' in TESTED


def test_it_looks_for_every_service_of_compose_that_has_metrics() -> None:
    (looked_for,) = CONFIGURATION["scrape_configs"][0]["dns_sd_configs"]
    assert set(looked_for["names"]) == {name for name, service in COMPOSE["services"].items() if "build" in service}
