"""Grafana's files, without Grafana: its own types read and write them unchanged, and they fit one another."""

import json
from itertools import combinations
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from tests.deploy.files import ALERTS, COMPOSE, DASHBOARD, DEPLOY, OPERATIONS, PANELS, metrics_of

PROVISIONING = DEPLOY / "grafana" / "provisioning"
OF_PROMETHEUS_ANNOTATIONS = {"titleFormat", "textFormat", "step"}
"""Fields that Grafana's Prometheus data source adds to its annotations; the common types do not know them."""


def lost(given: Any, kept: Any, path: str = "") -> list[str]:
    """Every field of `given` that `kept` lacks or has otherwise."""
    if isinstance(given, dict) and isinstance(kept, dict):
        return [one for name in given for one in lost(given[name], kept.get(name), f"{path}.{name}")]
    if isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        return [one for i in range(len(given)) for one in lost(given[i], kept[i], f"{path}[{i}]")]
    return [] if given == kept else [f"{path}: {given!r}"]


def test_grafanas_types_know_every_field_of_the_dashboard() -> None:
    register_default_plugins()
    kept = json.loads(JSONEncoder().encode(Dashboard.from_json(DASHBOARD)))
    unknown = [
        one
        for one in lost(DASHBOARD, kept)
        if one.partition(":")[0].rpartition(".")[2] not in OF_PROMETHEUS_ANNOTATIONS
    ]
    assert unknown == []


def test_a_field_that_grafana_does_not_know_is_found() -> None:
    assert lost({"panels": [{"titel": "x"}]}, {"panels": [{}]}) == [".panels[0].titel: 'x'"]


def test_every_panel_has_an_id_of_its_own_and_none_covers_another() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel, other in combinations(panels, 2):
        one, two = panel["gridPos"], other["gridPos"]
        beside = one["x"] + one["w"] <= two["x"] or two["x"] + two["w"] <= one["x"]
        apart = one["y"] + one["h"] <= two["y"] or two["y"] + two["h"] <= one["y"]
        assert beside or apart, f"{panel['title']} covers {other['title']}"
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_says_what_it_shows_and_asks_the_chosen_instances(panel: dict[str, Any]) -> None:
    assert len(panel["description"].split()) >= 3
    assert panel["fieldConfig"]["defaults"].get("unit") or panel["type"] in ("heatmap", "state-timeline")
    assert panel["datasource"]["uid"] == "${datasource}"
    for target in panel["targets"]:
        assert target["datasource"]["uid"] == "${datasource}"
        assert 'job=~"$job", instance=~"$instance"' in target["expr"]
        assert target["legendFormat"] or panel["type"] == "stat"


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_the_page_for_operators_explains_each_panel(panel: dict[str, Any]) -> None:
    assert f"**{panel['title']}**" in OPERATIONS


def test_dashboard_and_alerts_leave_no_metric_out() -> None:
    told = {name for line in OPERATIONS.splitlines() if line.startswith("| `attnloss_") for name in metrics_of(line)}
    expressions = [target["expr"] for panel in PANELS for target in panel["targets"]]
    expressions += [alert["expr"] for alert in ALERTS]
    used = set().union(*map(metrics_of, expressions))
    bases = {name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count") for name in used}
    assert bases == told


def test_the_provisioned_data_source_is_the_prometheus_of_compose() -> None:
    (source,) = yaml.safe_load((PROVISIONING / "datasources" / "prometheus.yml").read_text())["datasources"]
    assert source["type"] == "prometheus"
    assert source["url"] == "http://prometheus:9090"
    assert "prometheus" in COMPOSE["services"]
    variable = DASHBOARD["templating"]["list"][0]
    assert (variable["type"], variable["query"]) == ("datasource", "prometheus")
    assert variable["current"]["value"] == source["uid"]


def test_the_provisioned_folder_is_where_compose_mounts_the_dashboard() -> None:
    (provider,) = yaml.safe_load((PROVISIONING / "dashboards" / "attnloss.yml").read_text())["providers"]
    grafana = COMPOSE["services"]["grafana"]
    mounted = dict(volume.split(":")[:2] for volume in grafana["volumes"])
    assert mounted["./deploy/grafana/dashboards"] == provider["options"]["path"]
    assert mounted["./deploy/grafana/provisioning"] == "/etc/grafana/provisioning"
    home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{provider['options']['path']}/attnloss.json"
