"""docs/security.md and docs/settings.md: what they name is there."""

import ast
import re
from pathlib import Path

import pytest

from docs.settings import PAGE, page
from service.ray.settings import RaySettings
from service.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
SECURITY = (ROOT / "docs" / "security.md").read_text()
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", SECURITY)))


def test_the_settings_page_is_what_the_settings_say() -> None:
    assert PAGE.read_text() == page(), "run python -m docs.settings"


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_a_test_that_the_security_page_names_is_there(path: str, name: str) -> None:
    functions = [node for node in ast.parse((ROOT / path).read_text()).body if isinstance(node, ast.FunctionDef)]
    assert name in [function.name for function in functions]


def test_every_threat_of_the_security_page_names_a_test() -> None:
    rows = [line for line in SECURITY.splitlines() if line.startswith("| ") and not line.startswith("| threat")]
    assert len(rows) > 20
    assert [row for row in rows if not re.search(r"`tests/[\w/]+\.py::\w+`", row)] == []


@pytest.mark.parametrize("name", ["security.md", "operations.md", "reliability.md", "scale.md", "page.md"])
def test_every_setting_that_a_page_names_exists(name: str) -> None:
    path = ROOT / "docs" / name
    known = {f"ATTNLOSS_{field.upper()}" for field in Settings.model_fields}
    of_clients = {"ATTNLOSS_URL", "ATTNLOSS_API_KEY", "ATTNLOSS_KEY"}
    of_compose = set(re.findall(r"\$\{(ATTNLOSS_[A-Z_]+)", (ROOT / "docker-compose.yml").read_text()))
    of_ray = {"ATTNLOSS_RAY"} | {f"ATTNLOSS_RAY_{field.upper()}" for field in RaySettings.model_fields}
    named = set(re.findall(r"ATTNLOSS_[A-Z_]+[A-Z]", path.read_text()))
    assert named - known - of_clients - of_compose - of_ray == set()
