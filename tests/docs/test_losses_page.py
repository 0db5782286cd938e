"""docs/losses.md, executed: its Python runs, its bodies are valid, and it leaves nothing out of the registry."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from attnloss import language
from attnloss.registry import LOSSES, STATISTICS, Parameter
from service.codec import decode_json
from service.job import Job
from service.schemas import TENSOR_FIELDS
from service.settings import Settings
from service.validate import loss_job

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ROOT / "docs" / "images" / "losses"
PAGE = (ROOT / "docs" / "losses.md").read_text()
MOST_IMAGE_BYTES = 1_500_000

OUTSIDE_FENCES = re.sub(r"^```.*?^```$", "", PAGE, flags=re.DOTALL | re.MULTILINE)


def sections() -> dict[str, str]:
    """Each heading with its text, up to the next heading of any level; a # within a fence is none."""
    parts: dict[str, str] = {}
    heading, fenced = "", False
    for line in PAGE.splitlines(keepends=True):
        fenced ^= line.startswith("```")
        if line.startswith("#") and not fenced:
            heading = line.lstrip("#").strip()
            assert heading not in parts, f"two sections are named {heading}"
        parts[heading] = parts.get(heading, "") + line
    return parts


SECTIONS = sections()


def blocks(language_name: str, text: str) -> list[str]:
    return re.findall(rf"^```{language_name}\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)


RUNNABLE = {heading: snippets for heading, text in SECTIONS.items() if (snippets := blocks("python", text))}
BODIES = {
    f"{heading} {number}": body
    for heading, text in SECTIONS.items()
    for number, body in enumerate(blocks("json", text))
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small tensors: on a busy machine a second thread is waited for much longer than it helps."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def job_of(body: str) -> Job:
    return loss_job(decode_json(body.encode(), TENSOR_FIELDS), Settings(), b"i" * 16)


def parameter_row(parameter: Parameter) -> str:
    """How the line of a parameter begins: name, kind, default and range; what it means follows in free words."""
    default = "none" if parameter.default is None else f"{parameter.default}"
    if parameter.required:
        default = "required"
    elif isinstance(parameter.default, tuple):
        default = str(list(parameter.default))
    elif isinstance(parameter.default, float):
        default = f"{parameter.default:g}"
    within = ", ".join(parameter.choices)
    if parameter.minimum is not None:
        low, high = f"{parameter.minimum:g}".replace("-", "−"), parameter.maximum
        within = f"{parameter.name} ≥ {low}" if high is None else f"{low} ≤ {parameter.name} < {high:g}"
    return f"| `{parameter.name}` | {parameter.kind} | {default} | {within} |"


def test_the_page_has_snippets_and_bodies() -> None:
    assert len(RUNNABLE) > len(LOSSES)
    assert len(BODIES) >= 7


@pytest.mark.parametrize("heading", RUNNABLE)
def test_the_python_of_a_section_runs(heading: str) -> None:
    for number, snippet in enumerate(RUNNABLE[heading]):
        assert "assert " in snippet, f"snippet {number} of {heading} checks nothing"
        exec(compile(snippet, f"docs/losses.md: {heading}, snippet {number}", "exec"), {"__name__": "__snippet__"})


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_a_body_is_one_that_the_service_takes(body: str) -> None:
    assert job_of(body).options["losses"]


def test_the_bodies_show_every_loss() -> None:
    shown = {loss["name"] for body in BODIES.values() for loss in job_of(body).options["losses"]}
    assert shown == set(LOSSES)


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_has_its_section(name: str) -> None:
    """Formula, source, unit, image, pitfalls and a snippet of its own; summary and meaning are free words."""
    text, spec = SECTIONS[name], LOSSES[name]
    assert f"### {name}\n" in text
    assert [block.strip() for block in blocks("text", text)] == [spec.formula]
    assert f"From: {spec.paper}." in text
    assert ("ne value per head" in text or "ne value per batch entry" in text) is not spec.per_query
    assert f"(images/losses/{name}.svg)" in text
    assert "Pitfall" in text
    assert f"losses.{name}(" in "".join(RUNNABLE[name])


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_has_all_its_parameters_described(name: str) -> None:
    text, spec = SECTIONS[name], LOSSES[name]
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    expected = [parameter_row(parameter) for parameter in spec.parameters]
    assert len(rows) == len(expected)
    for row, start in zip(rows, expected, strict=True):
        assert row.startswith(start)
        assert len(row) > len(start) + len(" a |"), f"{start} is not explained"
    for choice in [
        choice for parameter in spec.parameters if parameter.name == "compat" for choice in parameter.choices
    ]:
        assert re.search(rf"Compat `{choice}`", text), f"{name} does not tell what {choice} does"


def test_no_section_stands_for_a_loss_that_is_not_there() -> None:
    groups = ["Spread", "Supervised", "Where weights lie", "Order and alignment", "Two maps", "Heads"]
    headings = re.findall(r"^(#{2,3}) (.+)$", OUTSIDE_FENCES, flags=re.MULTILINE)
    group, named = "", []
    for level, heading in headings:
        group = heading if level == "##" else group
        named += [heading] if level == "###" and group in groups else []
    assert sorted(named) == sorted(LOSSES)


def test_the_table_of_choices_names_every_loss() -> None:
    assert [name for name in LOSSES if f"`{name}`" not in SECTIONS["Which loss when"]] == []


def test_every_statistic_and_language_function_is_named() -> None:
    assert [name for name in STATISTICS if f"| `{name}` |" not in SECTIONS["Statistics"]] == []
    functions = [name for name in language.__all__ if name[0].islower()]
    assert [name for name in functions if f"`{name}`" not in SECTIONS["Language models"]] == []


def test_every_link_leads_to_a_heading() -> None:
    slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in SECTIONS}
    assert set(re.findall(r"\]\(#([^)]+)\)", PAGE)) <= slugs


def test_images_and_references_are_the_same() -> None:
    referenced = re.findall(r"!\[[^\]]+\]\(images/losses/([^)]+)\)", PAGE)
    assert sorted(referenced) == sorted(path.name for path in IMAGES.iterdir())
    assert sum(path.stat().st_size for path in IMAGES.iterdir()) < MOST_IMAGE_BYTES


def test_the_script_draws_every_image(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-m", "docs.plots", "--out", str(tmp_path)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in IMAGES.iterdir()}
    assert all(path.read_text().startswith("<?xml") for path in tmp_path.iterdir())
    assert len(run.stdout.splitlines()) == len(list(tmp_path.iterdir()))
