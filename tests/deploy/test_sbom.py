"""The bill of materials of a small machine: where licences are read from, and that it is what CycloneDX asks for."""

import json
from pathlib import Path

import pytest
from cyclonedx.schema import OutputFormat, SchemaVersion
from cyclonedx.validation import make_schemabased_validator

from tools.sbom import UNKNOWN, Component, components, cyclonedx, licence_list

PACKAGES = {
    "by_expression": "License-Expression: MIT OR Apache-2.0",
    "by-classifier": "Classifier: License :: OSI Approved :: BSD License",
    "By.Field": "License: ISC",
    "by-text": "License: " + "Permission is hereby granted, free of charge, to any person obtaining a copy. " * 3,
    "by-nobody": "Summary: says nothing",
}
COPYRIGHTS = {
    "machine": "Format: packaging-manuals/copyright-format/1.0/\n\nFiles: *\nLicense: GPL-2+\n",
    "prose": "This is free software; see /usr/share/common-licenses/LGPL-2.1.\n",
    "silent": "All rights are told elsewhere.\nLicense: as above\n",
}
LICENCES = {
    "by-expression": "MIT OR Apache-2.0",
    "by-classifier": "BSD License",
    "by-field": "ISC",
    "by-text": UNKNOWN,
    "by-nobody": UNKNOWN,
    "machine": "GPL-2+",
    "prose": "LGPL-2.1",
    "silent": UNKNOWN,
    "attnloss-model-tiny": "apache-2.0",
    "cpython": "PSF-2.0",
}


@pytest.fixture
def parts(tmp_path: Path) -> list[Component]:
    """The parts of a machine that has all of these, and a package that was removed."""
    site = tmp_path / "site-packages"
    for name, field in PACKAGES.items():
        folder = site / f"{name}-1.0.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {name}\nVersion: 1.0\n{field}\n")
    card = site / "service" / "models" / "tiny" / "README.md"
    card.parent.mkdir(parents=True)
    card.write_text("---\nlicense: apache-2.0\n---\n")
    status = tmp_path / "var/lib/dpkg/status"
    status.parent.mkdir(parents=True)
    paragraphs = [
        f"Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1:2.0-1\n" for name in COPYRIGHTS
    ]
    removed = "Package: gone\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: 1\n"
    status.write_text("\n".join([*paragraphs, removed]))
    for name, text in COPYRIGHTS.items():
        copyright_ = tmp_path / "usr/share/doc" / name / "copyright"
        copyright_.parent.mkdir(parents=True)
        copyright_.write_text(text)
    return components(tmp_path, [str(site)])


def test_a_licence_is_what_a_part_declares_and_else_unknown(parts: list[Component]) -> None:
    assert {part.name: part.licence for part in parts} == LICENCES


def test_those_of_unknown_licence_end_the_list(parts: list[Component]) -> None:
    known = [not line.endswith(f"\t{UNKNOWN}") for line in licence_list(parts).splitlines()]
    assert len(known) == len(LICENCES)
    assert known == sorted(known, reverse=True)


def test_the_document_is_valid_and_the_same_for_the_same_parts(parts: list[Component]) -> None:
    text = json.dumps(cyclonedx(parts))
    assert make_schemabased_validator(OutputFormat.JSON, SchemaVersion.V1_6).validate_str(text) is None
    assert text == json.dumps(cyclonedx(list(parts)))
    assert cyclonedx(parts)["serialNumber"] != cyclonedx(parts[1:])["serialNumber"]
