"""docker-compose.yml, read without Docker: services are locked down, local, and set by settings that there are."""

import re
from typing import Any

import pytest

from service.settings import Settings
from tests.deploy.files import COMPOSE, ROOT

SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
PROFILES = {"attnloss": None, "replica": "replicas", "nginx": "replicas", "attnloss-gpu": "gpu"}
PROFILES |= {"prometheus": "observability", "grafana": "observability"}


def test_a_profile_starts_what_belongs_to_it() -> None:
    assert {name: (service.get("profiles") or [None])[0] for name, service in SERVICES.items()} == PROFILES


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_locked_down(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


def test_ports_are_published_on_this_machine_alone_and_no_two_services_share_one() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert all(port.startswith("127.0.0.1:") for port in ports)
    published = [re.findall(r":-(\d+)}", port)[0] for port in ports]
    assert len(set(published)) == len(published) == 5


@pytest.mark.parametrize("name", ["attnloss", "replica", "attnloss-gpu"])
def test_its_settings_are_the_services_own_and_leave_time_to_drain(name: str) -> None:
    given = SERVICES[name]["environment"]
    assert {variable.removeprefix("ATTNLOSS_").lower() for variable in given} <= Settings.model_fields.keys()
    assert int(SERVICES[name]["stop_grace_period"].removesuffix("s")) > float(given["ATTNLOSS_DRAIN_S"]) + 10


def test_every_file_that_is_mounted_is_there() -> None:
    volumes = [volume for service in SERVICES.values() for volume in service.get("volumes", [])]
    bound = [volume.split(":")[0] for volume in volumes if volume.startswith("./")]
    assert len(bound) == 4
    assert all((ROOT / path).exists() for path in bound)


@pytest.mark.parametrize("image", ["prom/prometheus", "grafana/grafana", "nginx"])
def test_an_image_of_others_is_pinned_and_can_be_replaced(image: str) -> None:
    (given,) = [service["image"] for service in SERVICES.values() if image in service["image"]]
    assert re.fullmatch(r"\$\{[A-Z]+_IMAGE:-" + image + r":v?\d+\.\d+[\w.-]*\}", given)


def test_nginx_waits_longer_than_the_service_and_takes_bodies_as_large() -> None:
    directives = dict(re.findall(r"^\s*(\w+) ([^;{]+);", (ROOT / "deploy/nginx/nginx.conf").read_text(), re.MULTILINE))
    defaults = {name: field.default for name, field in Settings.model_fields.items()}
    assert float(directives["proxy_read_timeout"].removesuffix("s")) > defaults["deadline_s"] + 10
    assert int(directives["client_max_body_size"].removesuffix("m")) << 20 == defaults["max_body_bytes"]
    assert float(directives["client_body_timeout"].removesuffix("s")) == defaults["body_timeout_s"]
    assert "non_idempotent" in directives["proxy_next_upstream"]
