"""`--profile replicas`: several containers behind nginx, one of which dies under load and comes back."""

import contextlib
import http.client
import json
from collections.abc import Iterator

import httpx
import pytest

from tests.docker.compose import TENSORS, Compose, say, until
from tests.docker.load import Load

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def proxied(compose: Compose, nginx_image: None) -> Iterator[httpx.Client]:
    """A client of nginx, in front of three healthy containers."""
    try:
        compose("--profile", "replicas", "up", "--detach", "--wait", "--wait-timeout", "120", "replica", "nginx")
        with compose.client("NGINX") as client:
            yield client
    except AssertionError:
        say(compose("--profile", "replicas", "logs", "--no-color", "--tail", "50"))
        raise
    finally:
        compose("--profile", "replicas", "rm", "--stop", "--force", "replica", "nginx")


def served(compose: Compose, container: str) -> int:
    """Requests for attention that a container has answered, by its own count."""
    program = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8000/metrics').read().decode())"
    metrics = compose.docker("exec", container, "python", "-c", program)
    lines = [line for line in metrics.splitlines() if line.startswith("attnloss_requests_total")]
    return sum(int(float(line.rpartition(" ")[2])) for line in lines if 'route="/attention"' in line)


def test_every_replica_serves(compose: Compose, proxied: httpx.Client) -> None:
    for _ in range(60):
        proxied.post("/attention", json=TENSORS).raise_for_status()
    counts = [served(compose, container) for container in compose.containers("attnloss", "replica")]
    say(f"requests of each replica: {counts}")
    assert len(counts) == 3
    assert min(counts) > 0


def test_a_replica_killed_under_load_fails_no_request_and_serves_again_when_it_is_back(
    compose: Compose, proxied: httpx.Client
) -> None:
    killed = compose.containers("replica")[0]
    with Load(compose) as load:
        until(lambda: load.got["200"] > 100, "loaded")
        compose.docker("kill", killed)
        after = load.got["200"]
        until(lambda: load.got["200"] > after + 300, "serving without it")
        compose.docker("start", killed)
        until(lambda: compose.state(killed)["Health"]["Status"] == "healthy", "healthy again")  # type: ignore[index]
        before = served(compose, killed)
        back_s = until(lambda: served(compose, killed) > before, "serving again", within_s=10)
    say(f"answers {dict(load.got)}, slowest {load.slowest_s:.2f} s, back {back_s:.1f} s after it was healthy")
    assert set(load.got) == {"200"}


def test_a_large_body_and_its_request_id_reach_a_replica(proxied: httpx.Client) -> None:
    vector = [[0.123456789] * 64] * 4000
    body = {"query": vector, "key": vector[:2], "return": ["entropy"]}
    answer = proxied.post("/attention", json=body, headers={"X-Request-ID": "through-nginx"}).raise_for_status()
    assert len(answer.json()["entropy"]) == 4000
    assert answer.headers["x-request-id"] == "through-nginx"


def test_a_failure_of_the_service_reaches_the_client_as_it_is(proxied: httpx.Client) -> None:
    answer = proxied.post("/attention", json={"query": [[1]], "key": [[1, 2]], "return": ["entropy"]})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_body_over_the_limit_is_refused_before_it_is_sent(compose: Compose, proxied: httpx.Client) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", compose.ports["NGINX"], timeout=10)
    with contextlib.closing(connection):
        connection.request("POST", "/attention", headers={"Content-Length": str(65 << 20), "X-Request-ID": "large"})
        answer = connection.getresponse()
        problem = json.load(answer)
    assert (answer.status, answer.headers["content-type"]) == (413, "application/problem+json")
    assert (problem["type"], problem["request_id"]) == ("urn:attnloss:problem:too-large", "large")
    assert str(65 << 20) in problem["detail"]


def test_nginx_keeps_the_metrics_of_single_replicas_to_prometheus(proxied: httpx.Client) -> None:
    assert proxied.get("/metrics").status_code == 404


def test_without_any_replica_it_says_503_in_the_words_of_the_path(compose: Compose, proxied: httpx.Client) -> None:
    compose("--profile", "replicas", "stop", "--timeout", "5", "attnloss", "replica")
    paths = ("/attention", "/v2/models/attention/infer", "/v1/completions")
    answers = [proxied.post(path, json=TENSORS, headers={"X-Request-ID": "lost"}) for path in paths]
    for answer in answers:
        told = (answer.status_code, answer.headers["retry-after"], answer.headers["x-request-id"])
        assert told == (503, "1", "lost")
    json_types = ["application/problem+json", "application/json", "application/json"]
    assert [answer.headers["content-type"] for answer in answers] == json_types
    problem, oip, openai = (answer.json() for answer in answers)
    assert (problem["type"], problem["request_id"]) == ("urn:attnloss:problem:unavailable", "lost")
    assert oip == {"error": problem["detail"]}
    assert openai["error"]["message"] == problem["detail"]
