"""The image as `docker compose` runs it: it answers, is locked down, and ends in order."""

import httpx
import pytest

from tests.docker.compose import TENSORS, Compose, say, until

DRAIN_S = 30.0

pytestmark = pytest.mark.docker


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
    answer = client.post("/loss", json={"text": "I love programming"}).raise_for_status().json()
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
    (container,) = compose.containers("attnloss")
    assert int(compose.docker("inspect", "--format", "{{.HostConfig.Memory}}", container)) == 4 << 30


def test_sigterm_ends_it_with_0_within_the_drain_time(compose: Compose) -> None:
    (container,) = compose.containers("attnloss")
    compose("kill", "--signal", "SIGTERM", "attnloss")
    took_s = until(lambda: not compose.state(container)["Running"], "stopped", within_s=DRAIN_S)
    say(f"stopped {took_s:.1f} s after SIGTERM")
    state = compose.state(container)
    assert (state["ExitCode"], state["OOMKilled"]) == (0, False)
