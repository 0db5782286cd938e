"""API keys, on every route of a real server."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import openai
import pytest
from tritonclient.http import InferenceServerClient
from tritonclient.utils import InferenceServerException

from service.client import Client, Unauthorized
from tests.serving import GOOD, QUERY, ROOT, Server

KEY, SECOND = "correct-horse", "battery~staple+/="
OPEN = {"/", "/static/icon.svg", "/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready", "/metrics"}
BESIDE_THE_DOCUMENT = ["/docs", "/openapi.json", "/nowhere", "/", "/static/icon.svg"]


@pytest.fixture(scope="module")
def keyed(start_server: Callable[..., Server]) -> Iterator[Server]:
    server = start_server(api_keys=f"{KEY}, {SECOND}", models="default")
    yield server
    assert server.terminate() == 0
    assert KEY not in server.log.read_text()


def routes(server: Server) -> Iterator[tuple[str, str]]:
    """Method and path of every route, with something in place of its parameters."""
    document = server.client.get("/openapi.json", headers=bearer(KEY)).raise_for_status().json()
    for path, methods in document["paths"].items():
        filled = path.replace("{model}", "attention").replace("{version}", "1").replace("{name}", "default")
        assert "{" not in filled, filled
        yield from ((method.upper(), filled) for method in methods)
    yield from (("GET", path) for path in BESIDE_THE_DOCUMENT)


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_every_route_but_the_open_ones_refuses_a_request_without_a_key(keyed: Server) -> None:
    asked = list(routes(keyed))
    assert len(asked) > 20
    refused = {(method, path) for method, path in asked if keyed.client.request(method, path).status_code == 401}
    assert refused == {(method, path) for method, path in asked if path not in OPEN}


def test_every_route_takes_each_of_the_keys(keyed: Server) -> None:
    for method, path in routes(keyed):
        for key in (KEY, SECOND):
            assert keyed.client.request(method, path, headers=bearer(key)).status_code != 401, path


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"])
def test_a_method_that_a_route_does_not_take_is_no_way_around_the_key(keyed: Server, method: str) -> None:
    assert keyed.client.request(method, "/attention").status_code == 401


@pytest.mark.parametrize(
    "given",
    [
        "",
        "Bearer",
        f"Bearer{KEY}",
        f"Basic {KEY}",
        KEY,
        f"Bearer {KEY[:-1]}",
        f"Bearer {KEY}x",
        f"Bearer {KEY.upper()}",
        f"Bearer {KEY},{SECOND}",
        f"Bearer {KEY} {SECOND}",
        f"Bearer {KEY}, {SECOND}",
        "Bearer é",
    ],
)
def test_a_key_that_is_not_the_servers_is_refused(keyed: Server, given: str) -> None:
    answer = keyed.client.post("/attention", json=GOOD, headers={"Authorization": given.encode("latin-1")})
    assert answer.status_code == 401
    problem = answer.json()
    assert problem["type"] == "urn:attnloss:problem:unauthorized"
    assert "Bearer" in problem["detail"] or "none of those" in problem["detail"]
    assert KEY not in answer.text
    assert answer.headers["www-authenticate"] == 'Bearer realm="attnloss"'


def test_two_authorization_headers_are_refused(keyed: Server) -> None:
    headers = [("Authorization", "Bearer wrong"), ("Authorization", f"Bearer {KEY}")]
    assert keyed.client.post("/attention", json=GOOD, headers=headers).status_code == 401


def test_the_scheme_is_read_whatever_its_case(keyed: Server) -> None:
    assert keyed.client.post("/attention", json=GOOD, headers={"Authorization": f"bearer {KEY}"}).status_code == 200


@pytest.mark.parametrize(
    ("path", "body", "headers"),
    [
        ("/attention", b"{", {}),
        ("/attention", b"{}", {"content-type": "text/plain"}),
        ("/attention", b"{}", {"x-request-timeout": "soon"}),
        ("/loss", b'{"text": "a", "model": "none"}', {}),
        ("/v2/models/none/infer", b"{}", {}),
        ("/v1/completions", b'{"model": "none"}', {}),
    ],
)
def test_the_key_is_checked_before_body_arguments_and_model(
    keyed: Server, path: str, body: bytes, headers: dict[str, str]
) -> None:
    headers = {"content-type": "application/json"} | headers
    assert keyed.client.post(path, content=body, headers=headers).status_code == 401
    assert keyed.client.post(path, content=body, headers=headers | bearer(KEY)).status_code in (400, 404, 415, 422)


def test_a_client_without_a_key_is_answered_before_its_body_has_come(keyed: Server) -> None:
    head = b"POST /attention HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 60000000\r\n\r\n"
    with keyed.send_raw(head) as connection:
        assert connection.recv(100).startswith(b"HTTP/1.1 401 ")


def test_each_protocol_is_told_in_its_own_words(keyed: Server) -> None:
    infer = keyed.client.post("/v2/models/attention/infer", json={})
    assert infer.json() == {"error": "An API key is needed: send Authorization: Bearer KEY."}
    completion = keyed.client.post("/v1/completions", json={}).json()["error"]
    assert (completion["type"], completion["code"]) == ("authentication_error", "unauthorized")


def test_the_projects_client_sends_its_key(keyed: Server) -> None:
    url = f"http://127.0.0.1:{keyed.port}"
    with Client(url, api_key=KEY) as client:
        assert client.attention(query=QUERY, key=QUERY, returns=["entropy"]).entropy is not None
        assert client.loss_text("I love programming").results[0]["loss"] > 0
    with Client(url) as client, pytest.raises(Unauthorized, match="API key"):
        client.attention(query=QUERY, key=QUERY, returns=["entropy"])


def test_the_command_line_sends_its_key(keyed: Server) -> None:
    command = [sys.executable, "-m", "service.cli", "models", "--server", f"http://127.0.0.1:{keyed.port}"]
    done = subprocess.run([*command, "--api-key", KEY], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "default" in done.stdout
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "API key" in done.stderr
    assert "Traceback" not in done.stderr


def test_openais_client_sends_its_key(keyed: Server) -> None:
    url = f"http://127.0.0.1:{keyed.port}/v1"
    with openai.OpenAI(base_url=url, api_key=KEY, max_retries=0) as client:
        assert [model.id for model in client.models.list()] == ["default"]
    with (
        openai.OpenAI(base_url=url, api_key="wrong", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError, match="none of those"),
    ):
        client.models.list()


def test_tritons_client_sends_its_key(keyed: Server) -> None:
    client = InferenceServerClient(f"127.0.0.1:{keyed.port}")
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.get_model_metadata("attention", headers=bearer(KEY))["name"] == "attention"
    with pytest.raises(InferenceServerException, match="API key is needed"):
        client.get_model_metadata("attention")
    client.close()


def test_metrics_can_need_a_key_as_well(start_server: Callable[..., Server]) -> None:
    server = start_server(api_keys=KEY, metrics_key_required="true", wait=False)
    assert server.client.get("/metrics").status_code == 401
    assert server.client.get("/metrics", headers=bearer(KEY)).status_code == 200


def test_keys_come_from_a_file_as_secrets_are_mounted(start_server: Callable[..., Server], tmp_path: Path) -> None:
    secret = tmp_path / "keys"
    secret.write_text(f"{KEY}\n\n  {SECOND}\r\n")
    server = start_server(api_keys_file=secret, wait=False)
    statuses = [server.client.get("/losses", headers=bearer(key)).status_code for key in (KEY, SECOND, "other")]
    assert statuses == [200, 200, 401]


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"ATTNLOSS_API_KEYS": " , "}, "ATTNLOSS_API_KEYS holds no key"),
        ({"ATTNLOSS_API_KEYS": ""}, "ATTNLOSS_API_KEYS holds no key"),
        ({"ATTNLOSS_METRICS_KEY_REQUIRED": "true"}, "there is no key: set ATTNLOSS_API_KEYS too"),
        ({"ATTNLOSS_API_KEYS": "good,not good"}, "API key 2 of 2: expected printable ASCII without spaces"),
        ({"ATTNLOSS_API_KEYS_FILE": "/nowhere/keys"}, "cannot read ATTNLOSS_API_KEYS_FILE: No such file"),
        ({"ATTNLOSS_API_KEYS_FILE": "/dev/null"}, "/dev/null holds no key"),
    ],
)
def test_a_server_whose_keys_cannot_be_read_does_not_start_open(variables: dict[str, str], sentence: str) -> None:
    command = [sys.executable, "-m", "service.cli", "serve", "--port", "0"]
    done = subprocess.run(
        command, cwd=ROOT, env={"PATH": "/usr/bin"} | variables, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert sentence in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


def test_without_keys_nobody_needs_one(server: Server) -> None:
    answer = server.client.post("/attention", json=GOOD, headers=bearer("whatever"))
    assert answer.status_code == 200


def test_the_document_tells_of_the_keys(keyed: Server) -> None:
    document = keyed.client.get("/openapi.json", headers=bearer(KEY)).json()
    assert document["components"]["securitySchemes"] == {"bearer": {"type": "http", "scheme": "bearer"}}
    assert "401" in document["paths"]["/attention"]["post"]["responses"]
    assert document["paths"]["/health/live"]["get"].get("security") == []


def test_no_worker_is_given_the_keys(keyed: Server) -> None:
    holding = [process for process in keyed.processes() if KEY in str(process.environ())]
    assert [process.pid for process in holding] == [keyed.process.pid]  # to which its environment was given
