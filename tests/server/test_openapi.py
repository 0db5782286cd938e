"""The OpenAPI document and the server keep each other's word, as schemathesis reads and calls them."""

import subprocess
import sys
from pathlib import Path

import httpx

from tests.serving import Server

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


def test_no_generated_request_gets_what_the_document_does_not_say(server: Server, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"http://127.0.0.1:{server.port}/openapi.json"]
    options = ["--checks", CHECKS, "--max-examples", "10", "--seed", "1", "--generation-database", "none"]
    done = subprocess.run(
        [*command, *options, "--no-color", "--continue-on-failure", "--request-timeout", "30"],
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


def test_every_example_of_the_document_is_answered(server: Server) -> None:
    document = server.client.get("/openapi.json").json()
    tried = 0
    for path, item in document["paths"].items():
        body = item.get("post", {}).get("requestBody", {}).get("content", {}).get("application/json", {})
        for example in body.get("examples", {}).values():
            place = path.replace("{model}", "attention").replace("{version}", "1")
            answer = server.client.post(place, json=example["value"])
            assert answer.status_code == httpx.codes.OK, (path, answer.text)
            tried += 1
    assert tried >= 6


def test_every_operation_says_what_its_errors_are(server: Server) -> None:
    document = server.client.get("/openapi.json").json()
    for path, item in document["paths"].items():
        if "post" in item:
            told = item["post"]["responses"]
            assert {"400", "404", "408", "413", "415", "422", "429", "431", "500", "503", "504"} <= told.keys(), path
            assert all(told[status]["content"] for status in told if status != "200"), path
