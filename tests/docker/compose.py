"""This tree as `docker compose` runs it, under a project name and on ports of its own."""

import json
import os
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[2]
PROJECT = f"attnloss-test-{os.getpid()}"
PUBLISHED = {"ATTNLOSS": 8000, "NGINX": 8080, "PROMETHEUS": 9090, "GRAFANA": 3000}
"""Ports as docker-compose.yml has them; the tests take others."""

QUERY = [[1.0, 0.0], [0.0, 1.0]]
TENSORS = {"query": QUERY, "key": QUERY, "value": QUERY}


def say(words: str) -> None:
    print(f"\n{words}")  # noqa: T201 - sizes, times and logs are for who reads the run


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on, all different."""
    with ExitStack() as held:
        probes = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [probe.getsockname()[1] for probe in probes]


class Compose:
    """`docker compose` on this project's file."""

    def __init__(self) -> None:
        self.ports = dict(zip(PUBLISHED, free_ports(len(PUBLISHED)), strict=True))
        self.image = f"{PROJECT}:cpu"
        # TORCH_INDEX_URL is empty unless it is given: torch comes from where pip takes the rest.
        own = {"COMPOSE_PROJECT_NAME": PROJECT, "ATTNLOSS_IMAGE": self.image}
        own |= {"TORCH_INDEX_URL": os.environ.get("TORCH_INDEX_URL", "")}
        own |= {f"{name}_PUBLISH_PORT": str(port) for name, port in self.ports.items()}
        self.environment = os.environ | own

    def __call__(self, *arguments: str) -> str:
        """Run one compose command; what it printed, or a failure that shows it."""
        return self.docker("compose", *arguments)

    def docker(self, *arguments: str, stdin: str = "") -> str:
        """Run one docker command likewise."""
        command = ["docker", *arguments]
        done = subprocess.run(command, cwd=ROOT, env=self.environment, input=stdin, capture_output=True, text=True)
        if done.returncode:
            raise AssertionError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout.strip()

    def python(self, program: str) -> str:
        """Run a line of Python inside the container, as the service's user."""
        return self("exec", "-T", "attnloss", "python", "-c", program)

    def containers(self, *services: str) -> list[str]:
        """The ids of these services' containers, running or not."""
        return self("--profile", "*", "ps", "--all", "--quiet", *services).split()

    def state(self, container: str) -> dict[str, object]:
        """Docker's own record of a container's process."""
        return dict(json.loads(self.docker("inspect", "--format", "{{json .State}}", container)))

    def client(self, name: str) -> httpx.Client:
        """A client of a published port."""
        return httpx.Client(base_url=f"http://127.0.0.1:{self.ports[name]}", timeout=75, trust_env=False)

    def stand_in(self, name: str, dockerfile: str, *folders: Path) -> str:
        """Build an image, for where none can be pulled, from the base image and files of this machine; its name."""
        tag = f"{PROJECT}:{name}"
        contexts = [f"--build-context=host{i}={folder}" for i, folder in enumerate(folders)]
        base = os.environ.get("BASE_IMAGE", "python:3.11-slim-bookworm")
        self.docker("build", "--quiet", "--tag", tag, *contexts, "-", stdin=f"FROM {base}\n{dockerfile}")
        return tag

    def forget(self) -> None:
        """Stop and remove all of the project's containers, networks, volumes and images."""
        self("--profile", "*", "down", "--volumes", "--timeout", "5")
        if images := self.docker("images", "--quiet", "--filter", f"reference={PROJECT}").split():
            self.docker("image", "rm", "--force", *images)


def until(condition: Callable[[], bool], what: str, within_s: float = 60) -> float:
    """Wait for a condition; the seconds that it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < within_s, f"not {what} after {within_s} s"
        time.sleep(0.05)
    return time.monotonic() - began
