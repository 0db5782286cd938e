"""How the service is laid out over a cluster: its settings, the Serve config that ships, and `serve run` itself."""

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

from service.ray.settings import RaySettings
from tests.chaos.clients import until
from tests.serving import GOOD, GOOD_WEIGHT, ROOT

CONFIG = ROOT / "deploy/ray/serve.yaml"
STARTED_WITHIN_S = 90.0


def config() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(CONFIG.read_text())
    return loaded


def test_the_config_that_ships_is_one_that_ray_and_the_service_read() -> None:
    (application,) = ServeDeploySchema.model_validate(config()).applications
    assert application.import_path == "service.ray:app"
    settings = RaySettings(**application.args)
    assert (settings.worker_gpus, settings.max_workers, settings.ingress.models) == (1, 4, "default")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"workers": 3}, ["workers"]),
        ({"min_workers": 3}, ["min_workers is 3, more than max_workers, 1"]),
        ({"service": {"deadline_s": 0}}, ["deadline_s"]),
    ],
    ids=["unknown", "more than most", "of the service"],
)
def test_a_layout_that_cannot_be_is_refused_by_name(given: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ValueError, match=words[0]):
        RaySettings(**given)


def test_settings_come_from_the_environment_unless_they_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATTNLOSS_RAY_MAX_WORKERS", "5")
    monkeypatch.setenv("ATTNLOSS_MAX_TEXTS", "7")
    settings = RaySettings(service={"max_losses": 3})
    assert (settings.max_workers, settings.ingress.max_texts, settings.ingress.max_losses) == (5, 7, 3)


@pytest.mark.parametrize(
    ("given", "device", "threads"),
    [
        ({}, "cpu", 1),
        ({"worker_cpus": 4}, "cpu", 4),
        ({"worker_gpus": 1}, "auto", None),
        ({"service": {"cpu_threads": 2}}, "cpu", 2),
    ],
    ids=["a core", "cores", "a GPU", "as told"],
)
def test_a_worker_replica_computes_on_what_ray_gave_it(given: Any, device: str, threads: int | None) -> None:
    worker = RaySettings(**given).worker
    assert (worker.device, worker.cpu_threads) == (device, threads)


def test_serve_run_serves_the_config_that_ships_and_ctrl_c_ends_it(tmp_path: Path) -> None:
    mine = config()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    mine["http_options"] = {"host": "127.0.0.1", "port": port}
    mine["applications"][0]["args"] |= {"worker_gpus": 0, "service": {"models": ""}}
    (tmp_path / "serve.yaml").write_text(yaml.safe_dump(mine))
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as session:  # short: sockets lie in it
        own = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_TMPDIR": session, "PYTHONPATH": str(ROOT)}
        own |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        command = [sys.executable, "-m", "ray.serve.scripts", "run", str(tmp_path / "serve.yaml")]
        with (tmp_path / "log").open("wb") as log:
            process = subprocess.Popen(
                command, cwd=ROOT, env=os.environ | own, stdout=log, stderr=log, start_new_session=True
            )
        everyone: list[psutil.Process] = []
        try:
            until(lambda: process.poll() is not None or _status(port) == 200, STARTED_WITHIN_S)
            assert process.poll() is None, (tmp_path / "log").read_text()
            answer = httpx.post(f"http://127.0.0.1:{port}/attention", json=GOOD, trust_env=False).raise_for_status()
            assert answer.json()["weights"][0][0] == pytest.approx(GOOD_WEIGHT, abs=1e-6)
            everyone = psutil.Process(process.pid).children(recursive=True)
            process.send_signal(signal.SIGINT)
            process.wait(30)
            assert psutil.wait_procs(everyone, timeout=15)[1] == []
        finally:
            process.kill()
            for left in everyone:
                with contextlib.suppress(psutil.NoSuchProcess):
                    left.kill()


def _status(port: int) -> int:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health/ready", trust_env=False, timeout=5).status_code
    except httpx.TransportError:
        return 0
