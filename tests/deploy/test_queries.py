"""Every expression of the dashboard and of the alerts, asked of a real Prometheus that scrapes a real server."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.deploy.files import ALERTS, DASHBOARD, DEPLOY, PANELS, metrics_of
from tests.deploy.programs import program
from tests.serving import GOOD, Server, server_starter

SCRAPES = """
global: {scrape_interval: 500ms, evaluation_interval: 500ms}
rule_files: [%s]
scrape_configs:
  - job_name: attnloss
    static_configs: [{targets: ["127.0.0.1:%d"]}]
"""
CHOSEN = {"$job": ".+", "$instance": ".+", "$__rate_interval": "30s"}
MAY_BE_EMPTY = {"attnloss_resubmissions_total", "attnloss_batch_splits_total"}
"""What a server that lost an idle worker never counts."""
WITHIN_S = 30.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a text model."""
    with server_starter(tmp_path_factory) as start:
        yield start(models="default")


@pytest.fixture(scope="module")
def prometheus(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A Prometheus that saw the server answer, refuse and lose a worker."""
    folder = tmp_path_factory.mktemp("prometheus")
    (folder / "prometheus.yml").write_text(SCRAPES % (DEPLOY / "prometheus" / "alerts.yml", server.port))
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [
        program("prometheus", "prometheus"),
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/data",
    ]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"]
    url = f"http://127.0.0.1:{port}"
    log = folder / "log"
    with log.open("wb") as out, httpx.Client(base_url=url, trust_env=False) as client:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        try:
            until(lambda: bool(ask(client, 'up{job="attnloss"} == 1')), f"scraped; {log}")
            use(server)
            os.kill(server.worker_pid(), signal.SIGKILL)
            until(lambda: bool(ask(client, "attnloss_restarts_total > 0")), "restarted")
            server.wait_ready()
            use(server)
            until(lambda: bool(ask(client, "attnloss_model_ready == 1")), "ready for texts")
            until(lambda: bool(ask(client, "sum(rate(attnloss_requests_total[30s])) > 0")), "counted")
            yield client
        finally:
            process.terminate()
            process.wait()


def use(server: Server) -> None:
    """Ask for tensors and texts, rightly and wrongly."""
    for _ in range(3):
        server.post("/attention", GOOD)
        server.post("/loss", {"text": "I love programming"})
        assert server.client.post("/loss", json={"query": [[1.0]]}).status_code == 422


def ask(client: httpx.Client, expression: str) -> list[dict[str, Any]]:
    """What an expression comes to now; nothing where Prometheus does not yet answer."""
    try:
        answer = client.get("/api/v1/query", params={"query": expression})
    except httpx.TransportError:
        return []
    assert answer.status_code in (200, 503), answer.text
    return list(answer.json()["data"]["result"]) if answer.status_code == 200 else []


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition."""
    give_up_s = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < give_up_s, f"not {what}"
        time.sleep(0.1)


def with_choices(expression: str) -> str:
    """An expression of the dashboard as Grafana sends it, with all of each variable chosen."""
    for name, chosen in CHOSEN.items():
        expression = expression.replace(name, chosen)
    assert "$" not in expression
    return expression


EXPRESSIONS = {f"{panel['title']} {target['refId']}": target["expr"] for panel in PANELS for target in panel["targets"]}


@pytest.mark.parametrize("expression", EXPRESSIONS.values(), ids=EXPRESSIONS)
def test_an_expression_of_the_dashboard_has_data(prometheus: httpx.Client, expression: str) -> None:
    found = ask(prometheus, with_choices(expression))
    if not metrics_of(expression) & MAY_BE_EMPTY:
        assert [sample for sample in found if sample["value"][1] not in ("NaN", "+Inf")], found


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_names_metrics_that_there_are(prometheus: httpx.Client, alert: dict[str, Any]) -> None:
    for metric in metrics_of(alert["expr"]) - MAY_BE_EMPTY:
        assert ask(prometheus, metric), f"{metric} is exported by nobody"


def test_prometheus_evaluates_every_alert_without_an_error_and_none_fires(prometheus: httpx.Client) -> None:
    def rules(field: str) -> set[str]:
        groups = prometheus.get("/api/v1/rules").raise_for_status().json()["data"]["groups"]
        return {rule[field] for group in groups for rule in group["rules"]}

    until(lambda: "unknown" not in rules("health"), "evaluated")
    assert rules("health") == {"ok"}
    assert "firing" not in rules("state")


@pytest.mark.parametrize("variable", DASHBOARD["templating"]["list"][1:], ids=lambda variable: variable["name"])
def test_a_variable_of_the_dashboard_has_values(prometheus: httpx.Client, variable: dict[str, Any]) -> None:
    series, label = variable["query"]["query"].removeprefix("label_values(").removesuffix(")").rsplit(", ", 1)
    assert all(sample["metric"][label] for sample in ask(prometheus, with_choices(series)))
    assert ask(prometheus, with_choices(series))


def test_the_annotation_of_the_dashboard_is_understood(prometheus: httpx.Client) -> None:
    (annotation,) = DASHBOARD["annotations"]["list"]
    assert ask(prometheus, with_choices(annotation["expr"])) == []
