"""docs/operations.md, executed as a newcomer would: its commands run and answer what it shows."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docker.compose import PUBLISHED, ROOT, TENSORS, Compose
from tests.docker.load import Load

SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", (ROOT / "docs/operations.md").read_text(), re.DOTALL | re.M))
BLOCK = re.compile(r"^```sh\n(.*?)^```(?:\n```json\n(.*?)^```)?", re.DOTALL | re.MULTILINE)
VARYING = {"request_id", "timestamp", "models", "cost_model", "value"}
VARIES = "different in every run"

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def page(built: Compose, nginx_image: None, observability_images: None) -> Iterator[Compose]:
    """The project with nothing started; what the commands of the page start ends with them."""
    built("--profile", "*", "down", "--timeout", "5")
    yield built
    built("--profile", "*", "down", "--timeout", "5")


def run(page: Compose, commands: str, cwd: Path = ROOT) -> str:
    """What commands print, with those that ask from outside the containers sent to this project's ports."""
    for name, port in PUBLISHED.items():
        commands = re.sub(rf"(curl.*127\.0\.0\.1):{port}\b", rf"\1:{page.ports[name]}", commands)
    command = ["bash", "-euc", commands]
    done = subprocess.run(command, cwd=cwd, env=page.environment, input="", capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{commands}\n{done.stdout}{done.stderr}"
    return done.stdout


def shape(answer: object) -> object:
    """What of an answer is the same in every run: its keys, its words, and the kinds of its other values."""
    if isinstance(answer, dict):
        return {key: VARIES if key in VARYING else shape(value) for key, value in answer.items()}
    if isinstance(answer, list):
        return [shape(value) for value in answer]
    return answer if isinstance(answer, str) else type(answer)


def follow(page: Compose, section: str, blocks: slice = slice(None)) -> None:
    """Run a section's commands in order; where an answer is shown it must be of its shape."""
    for commands, shown in BLOCK.findall(SECTIONS[section])[blocks]:
        printed = run(page, commands)
        if shown:
            assert shape(json.loads(printed)) == shape(json.loads(shown)), commands


def test_a_newcomer_gets_from_docker_compose_up_to_a_dashboard(page: Compose) -> None:
    follow(page, "From docker compose up to a dashboard", slice(0, -1))
    follow(page, "Logs")
    follow(page, "From docker compose up to a dashboard", slice(-1, None))


def test_an_upgrade_behind_nginx_fails_no_request(page: Compose, monkeypatch: pytest.MonkeyPatch) -> None:
    follow(page, "Replicas")
    before = set(page.containers("attnloss", "replica"))
    monkeypatch.setitem(page.environment, "ATTNLOSS_MEM_LIMIT", "3g")  # replaces containers as a new image does
    with Load(page) as load:
        follow(page, "Upgrades and restarts")
    assert len(before) == 3
    assert before.isdisjoint(page.containers("attnloss", "replica"))
    assert set(load.got) == {"200"}, load.got


def test_keys_of_a_secret_are_asked_for(page: Compose, tmp_path: Path) -> None:
    section = SECTIONS["API keys"]
    ((commands, _),) = BLOCK.findall(section)
    run(page, commands, cwd=tmp_path)
    (override,) = re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)
    (tmp_path / "override.yml").write_text(override.replace("file: api-keys.txt", f"file: {tmp_path}/api-keys.txt"))
    files = ("--file", "docker-compose.yml", "--file", str(tmp_path / "override.yml"))
    page(*files, "up", "--detach", "--wait", "--wait-timeout", "120", "attnloss")
    key = (tmp_path / "api-keys.txt").read_text().strip()
    with page.client("ATTNLOSS") as client:
        statuses = {
            given: client.post("/attention", json=TENSORS, headers={"Authorization": f"Bearer {given}"}).status_code
            for given in (key, key[:-1])
        }
        assert statuses == {key: 200, key[:-1]: 401}
        assert [client.get(path).status_code for path in ("/metrics", "/health/ready")] == [200, 200]


def test_the_bill_of_materials_comes_out_of_the_image(page: Compose) -> None:
    follow(page, "What the image holds")
    assert (ROOT / "build" / "sbom" / "licences.txt").read_text().count("\n") > 100
    assert json.loads((ROOT / "build" / "sbom" / "sbom.cdx.json").read_text())["bomFormat"] == "CycloneDX"
