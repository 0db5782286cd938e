"""The image itself: its size, what it lists of itself, and that what was cut from it is missed by nobody."""

import json

import pytest

from tests.docker.compose import Compose, say

LARGEST_BYTES = 1_400_000_000
"""With a base image of 383 MB; python:3.11-slim-bookworm is smaller."""

pytestmark = pytest.mark.docker


def inside(built: Compose, *command: str) -> str:
    """What a command prints in a container of the image, without a network."""
    program, *arguments = command
    limits = ("--rm", "--network", "none", "--read-only", "--tmpfs", "/tmp")
    return built.docker("run", *limits, "--entrypoint", program, built.image, *arguments)


def test_the_image_is_smaller_than_1400_mb(built: Compose) -> None:
    size = int(built.docker("image", "inspect", "--format", "{{.Size}}", built.image))
    say(f"image {size / 1e6:.0f} MB")
    assert size < LARGEST_BYTES


def test_the_bill_of_materials_is_valid_cyclonedx(built: Compose) -> None:
    from cyclonedx.schema import OutputFormat, SchemaVersion
    from cyclonedx.validation import make_schemabased_validator

    text = inside(built, "cat", "/usr/share/attnloss/sbom.cdx.json")
    assert make_schemabased_validator(OutputFormat.JSON, SchemaVersion.V1_6).validate_str(text) is None


def test_the_bill_of_materials_lists_every_package_that_pip_and_dpkg_know(built: Compose) -> None:
    listed = json.loads(inside(built, "cat", "/usr/share/attnloss/sbom.cdx.json"))["components"]
    purls = {component.get("purl", "").partition("@")[0] for component in listed}
    program = (
        "import importlib.metadata as m, re; print(*{re.sub('[-_.]+', '-', d.name).lower() for d in m.distributions()})"
    )
    for name in inside(built, "python", "-c", program).split():
        assert f"pkg:pypi/{name}" in purls
    for name in inside(built, "dpkg-query", "--show", "--showformat", "${Package} ").split():
        assert f"pkg:deb/debian/{name.replace('+', '%2B')}" in purls


def test_the_list_of_licences_has_a_line_for_every_part_and_says_which_declare_none(built: Compose) -> None:
    parts = json.loads(inside(built, "cat", "/usr/share/attnloss/sbom.cdx.json"))["components"]
    lines = dict(line.split("\t") for line in inside(built, "cat", "/usr/share/attnloss/licences.txt").splitlines())
    unknown = {f"{part['name']} {part['version']}" for part in parts if "licenses" not in part}
    assert lines.keys() == {f"{part['name']} {part['version']}" for part in parts}
    assert {name for name, licence in lines.items() if licence == "unknown"} == unknown
    say(f"{len(lines)} parts, {len(unknown)} of unknown licence: {', '.join(sorted(unknown))}")


TRAINS = """
import networkx, numpy, sympy, torch
layer = torch.nn.TransformerEncoderLayer(8, 2)
layer(torch.randn(1, 3, 8)).sum().backward()
torch.jit.trace(torch.nn.Linear(2, 2), torch.randn(1, 2))
torch.fft.fft(torch.linalg.svd(torch.randn(5, 5)).S)
numpy.linalg.inv(numpy.eye(3)), sympy.solve("x**2 - 1"), networkx.path_graph(3)
"""
GENERATES = """
import hf_xet, httptools, orjson, pydantic_core, regex, safetensors.torch
import simdjson, tokenizers, torch, uvloop, yaml, zmq
import opentelemetry.sdk.trace, opentelemetry.exporter.otlp.proto.http.trace_exporter
from transformers import BertModel, GPT2Config, GPT2LMHeadModel, LlamaModel, MarianMTModel, T5Model
model = GPT2LMHeadModel(GPT2Config(vocab_size=9, n_embd=8, n_layer=1, n_head=2))
model.generate(torch.tensor([[1, 2]]), max_new_tokens=2, pad_token_id=0)
"""


@pytest.mark.parametrize("program", [TRAINS, GENERATES], ids=["training", "generating"])
def test_what_was_cut_from_the_packages_is_missed_by_nobody(built: Compose, program: str) -> None:
    inside(built, "python", "-W", "ignore", "-c", program)


@pytest.mark.parametrize("part", ["torch/include", "torch/test", "numpy/tests", "sympy/core/tests"])
def test_no_header_or_test_suite_is_left(built: Compose, part: str) -> None:
    with pytest.raises(AssertionError, match="No such file"):
        inside(built, "sh", "-c", f"ls -d /opt/venv/lib/python3*/site-packages/{part}")
