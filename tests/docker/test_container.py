"""The image as `docker compose` runs it: it builds, answers, is locked down, and ends in order."""

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = f"attnloss-test-{os.getpid()}"
DRAIN_S = 30.0

QUERY = [[1.0, 0.0], [0.0, 1.0]]
TENSORS = {"query": QUERY, "key": QUERY, "value": QUERY}

pytestmark = pytest.mark.docker


def say(words: str) -> None:
    print(f"\n{words}")  # noqa: T201 - sizes, times and logs are for who reads the run


class Compose:
    """`docker compose` on this project's file, under a name and on a port of its own."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        # Empty unless it is given: torch comes from where pip takes the rest.
        torch_index = os.environ.get("TORCH_INDEX_URL", "")
        own = {"ATTNLOSS_PUBLISH_PORT": str(self.port), "TORCH_INDEX_URL": torch_index}
        self.environment = os.environ | own

    def __call__(self, *arguments: str) -> str:
        """Run one compose command; what it printed, or a failure that shows it."""
        return self.docker("compose", "--project-name", PROJECT, *arguments)

    def docker(self, *arguments: str) -> str:
        command = ["docker", *arguments]
        done = subprocess.run(
            command, cwd=ROOT, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        if done.returncode:
            raise AssertionError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout.strip()

    def python(self, program: str) -> str:
        """Run a line of Python inside the container, as the service's user."""
        return self("exec", "-T", "attnloss", "python", "-c", program)

    def state(self) -> dict[str, object]:
        """Docker's own record of the container's process."""
        container = self("ps", "--all", "--quiet", "attnloss")
        return dict(json.loads(self.docker("inspect", "--format", "{{json .State}}", container)))


@pytest.fixture(scope="module")
def compose() -> Iterator[Compose]:
    """The service, built from this tree, started and healthy."""
    compose = Compose()
    try:
        began = time.monotonic()
        compose("build", "attnloss")
        built = time.monotonic()
        compose("up", "--detach", "--wait", "--wait-timeout", "120", "attnloss")
        up = time.monotonic()
        size = int(compose.docker("image", "inspect", "--format", "{{.Size}}", f"{PROJECT}-attnloss"))
        say(f"image {size / 1e6:.0f} MB, built in {built - began:.1f} s, healthy after {up - built:.1f} s")
        yield compose
    except AssertionError:
        say(compose("logs", "--no-color", "--tail", "50"))
        raise
    finally:
        compose("down", "--volumes", "--rmi", "local", "--timeout", "5")


@pytest.fixture(scope="module")
def client(compose: Compose) -> Iterator[httpx.Client]:
    """A client of the published port."""
    with httpx.Client(base_url=f"http://127.0.0.1:{compose.port}", timeout=30, trust_env=False) as client:
        yield client


@pytest.mark.parametrize("path", ["/health/live", "/models", "/losses", "/metrics", "/docs", "/openapi.json"])
def test_a_get_endpoint_answers_200(client: httpx.Client, path: str) -> None:
    assert client.get(path).status_code == 200


def test_it_says_that_it_is_ready_on_the_cpu(client: httpx.Client) -> None:
    health = client.get("/health/ready").raise_for_status().json()
    assert health["ready"] is True
    assert [worker["device"] for worker in health["workers"]] == ["cpu"]


def test_attention_answers_weights_whose_rows_sum_to_one(client: httpx.Client) -> None:
    answer = client.post("/attention", json=TENSORS).raise_for_status().json()
    assert [sum(row) for row in answer["weights"]] == pytest.approx([1, 1], abs=1e-6)
    assert answer["output"] == answer["weights"]  # value is the identity


def test_the_image_holds_the_native_kernel_for_whatever_cpu_it_runs_on(client: httpx.Client) -> None:
    answer = client.post("/attention", json=TENSORS | {"return": ["output", "entropy"]}).raise_for_status().json()
    assert answer["backend"] == "native"


def test_a_loss_is_a_number(client: httpx.Client) -> None:
    answer = client.post("/loss", json=TENSORS | {"losses": [{"name": "entropy"}]}).raise_for_status().json()
    assert 0 < answer["loss"] < 0.7  # at most log 2


def test_text_is_scored_by_the_embedded_model(client: httpx.Client) -> None:
    began = time.monotonic()
    answer = client.post("/loss", json={"text": "I love programming"}).raise_for_status().json()
    say(f"first text answered {time.monotonic() - began:.1f} s after tensors")
    (result,) = answer["results"]
    assert result["tokens"][1:] == ["I", " love", " programming"]
    assert client.get("/health/ready").json()["models"] == {"default": "ready"}


def test_downloaded_models_have_a_place_that_can_be_written(compose: Compose) -> None:
    compose.python("import os; open(os.environ['HF_HOME'] + '/new', 'w'); os.remove(os.environ['HF_HOME'] + '/new')")


def test_it_runs_as_uid_1000_and_gid_0(compose: Compose) -> None:
    owners = "{(p.stat().st_uid, p.stat().st_gid) for p in pathlib.Path('/proc').glob('[0-9]*')}"
    assert compose.python(f"import pathlib; print({owners})") == "{(1000, 0)}"


def test_it_has_no_capabilities(compose: Compose) -> None:
    status = compose.python("print(open('/proc/1/status').read())")
    assert {line.split()[1] for line in status.splitlines() if line.startswith("Cap")} == {"0" * 16}


@pytest.mark.parametrize("place", ["/", "/opt/venv", "/home"])
def test_its_root_cannot_be_written(compose: Compose, place: str) -> None:
    with pytest.raises(AssertionError, match="Read-only file system"):
        compose.python(f"open('{place}/new', 'w')")


def test_the_memory_limit_is_set(compose: Compose) -> None:
    container = compose("ps", "--quiet", "attnloss")
    assert int(compose.docker("inspect", "--format", "{{.HostConfig.Memory}}", container)) == 4 << 30


def test_sigterm_ends_it_with_0_within_the_drain_time(compose: Compose) -> None:
    began = time.monotonic()
    compose("kill", "--signal", "SIGTERM", "attnloss")
    while (state := compose.state())["Running"]:
        assert time.monotonic() - began < DRAIN_S
        time.sleep(0.1)
    say(f"stopped {time.monotonic() - began:.1f} s after SIGTERM")
    assert (state["ExitCode"], state["OOMKilled"]) == (0, False)
