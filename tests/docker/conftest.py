"""The image, built once, the default service of it, and what stands in for images that cannot be pulled."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.docker.compose import Compose, say

NGINX = """
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends nginx-light >/dev/null
"""
PROMETHEUS = """
COPY --from=host0 prometheus /bin/
RUN install -d -o 65534 -g 65534 /prometheus
USER 65534:65534
ENTRYPOINT ["/bin/prometheus"]
"""
GRAFANA = """
ENTRYPOINT ["sleep", "infinity"]
"""
"""Grafana is in no package: its container only takes its place, and its files are checked in tests/deploy."""


@pytest.fixture(scope="session")
def built() -> Iterator[Compose]:
    """The project with its image built and nothing started; forgotten at the end, with logs if a test failed."""
    compose = Compose()
    try:
        began = time.monotonic()
        compose("build", "attnloss")
        say(f"image built in {time.monotonic() - began:.1f} s")
        yield compose
    finally:
        compose.forget()


@pytest.fixture(scope="module")
def compose(built: Compose) -> Iterator[Compose]:
    """The default service, started and healthy."""
    try:
        built("up", "--detach", "--wait", "--wait-timeout", "120", "attnloss")
        yield built
    except AssertionError:
        say(built("logs", "--no-color", "--tail", "50"))
        raise


@pytest.fixture(scope="module")
def client(compose: Compose) -> Iterator[httpx.Client]:
    """A client of the default service."""
    with compose.client("ATTNLOSS") as client:
        yield client


@pytest.fixture(scope="session")
def nginx_image(built: Compose) -> None:
    """NGINX_IMAGE, or Debian's nginx in the base image."""
    if "NGINX_IMAGE" not in built.environment:
        built.environment["NGINX_IMAGE"] = built.stand_in("nginx", NGINX)


@pytest.fixture(scope="session")
def observability_images(built: Compose, tmp_path_factory: pytest.TempPathFactory) -> None:
    """PROMETHEUS_IMAGE and GRAFANA_IMAGE, or this machine's Prometheus in the base image, and nothing."""
    if "PROMETHEUS_IMAGE" not in built.environment:
        found = shutil.which("prometheus")
        assert found, "neither PROMETHEUS_IMAGE is set nor is there a prometheus on this machine (Debian: prometheus)"
        folder = tmp_path_factory.mktemp("prometheus")
        shutil.copy(Path(found).resolve(), folder / "prometheus")
        built.environment["PROMETHEUS_IMAGE"] = built.stand_in("prometheus", PROMETHEUS, folder)
    if "GRAFANA_IMAGE" not in built.environment:
        built.environment["GRAFANA_IMAGE"] = built.stand_in("grafana", GRAFANA)
