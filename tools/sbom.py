"""What this environment is made of: `python sbom.py FOLDER` writes sbom.cdx.json (CycloneDX 1.6) and licences.txt.

Python's packages, Debian's packages, Python itself and the embedded model, each with the licence that it declares.
Needs only the standard library, since it runs inside the image. Equal environments give equal files.
"""

import json
import platform
import re
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any
from urllib.parse import quote

UNKNOWN = "unknown"
_NAMESPACE = uuid.UUID("9c4d3bb0-6f0e-5d43-9b0c-0f1c1f1f6a52")
_VAGUE = {"", "UNKNOWN", "OSI Approved", "Dual License"}
_LONGEST_NAME = 100
"""A longer licence field holds the licence's text."""


@dataclass(frozen=True, order=True)
class Component:
    """One part; its licences as they are declared there, or none."""

    kind: str
    name: str
    version: str
    purl: str
    licences: tuple[str, ...] = ()
    expression: bool = False

    @property
    def licence(self) -> str:
        """In words."""
        return ", ".join(self.licences) or UNKNOWN

    def cyclonedx(self) -> dict[str, Any]:
        """As CycloneDX writes it; licences that nobody declared are left out."""
        found: dict[str, Any] = {"type": self.kind, "bom-ref": self.purl, "name": self.name, "version": self.version}
        if not self.purl.startswith("file:"):
            found["purl"] = self.purl
        if self.expression:
            found["licenses"] = [{"expression": self.licences[0]}]
        elif self.licences:
            found["licenses"] = [{"license": {"name": name}} for name in self.licences]
        return found


def python_packages(paths: list[str]) -> Iterator[Component]:
    """Every distribution on these paths."""
    for distribution in distributions(path=paths):
        name = re.sub(r"[-_.]+", "-", distribution.name).lower()
        licences, expression = _declared(distribution)
        purl = f"pkg:pypi/{name}@{quote(distribution.version)}"
        yield Component("library", name, distribution.version, purl, licences, expression)


def _declared(distribution: Distribution) -> tuple[tuple[str, ...], bool]:
    """The licence expression of PEP 639, else the classifiers, else the free field if it names a licence."""
    metadata = distribution.metadata
    if expression := metadata.get_all("License-Expression", []):
        return (expression[0],), True
    classifiers = [line.split(" :: ")[-1] for line in metadata.get_all("Classifier", []) if line.startswith("License")]
    if named := tuple(sorted(set(classifiers) - _VAGUE)):
        return named, False
    field = "".join(metadata.get_all("License", [])).strip()
    return ((field,) if field not in _VAGUE and len(field) <= _LONGEST_NAME else ()), False


def debian_packages(root: Path) -> Iterator[Component]:
    """Every package that dpkg has installed."""
    status = root / "var/lib/dpkg/status"
    for paragraph in status.read_text().split("\n\n") if status.exists() else []:
        fields = dict(re.findall(r"^([\w-]+): (.*)$", paragraph, re.MULTILINE))
        if fields.get("Status", "").endswith(" installed"):
            name, version = fields["Package"], fields["Version"]
            purl = f"pkg:deb/debian/{quote(name, safe='')}@{quote(version, safe='')}?arch={fields['Architecture']}"
            yield Component("library", name, version, purl, _of_copyright(root / "usr/share/doc" / name / "copyright"))


def _of_copyright(path: Path) -> tuple[str, ...]:
    """The short names of a machine-readable copyright file; of one in prose, the common licences that it points to."""
    text = path.read_text(errors="replace") if path.exists() else ""
    if re.match(r"Format(-Specification)?:", text):
        found = re.findall(r"^License: *(\S.*?) *$", text, re.MULTILINE)
    else:
        found = re.findall(r"/usr/share/common-licenses/([A-Z][\w.+-]*\w)", text)
    return tuple(sorted(set(found)))


def embedded_models(packages: Path) -> Iterator[Component]:
    """The text models that come with the service, by their cards."""
    for card in sorted(packages.glob("service/models/*/README.md")):
        licence = re.search(r"^license: (.+)$", card.read_text(), re.MULTILINE)
        name = f"attnloss-model-{card.parent.name}"
        licences = (licence[1],) if licence else ()
        yield Component("machine-learning-model", name, "1", f"file:{name}", licences)


def components(root: Path, paths: list[str]) -> list[Component]:
    """All parts, sorted: the interpreter, Python's packages, the models, Debian's packages."""
    version = platform.python_version()
    interpreter = Component("platform", "cpython", version, f"pkg:generic/cpython@{version}", ("PSF-2.0",), True)
    models = [model for path in paths for model in embedded_models(Path(path))]
    return sorted({interpreter, *python_packages(paths), *models, *debian_packages(root)})


def cyclonedx(parts: list[Component]) -> dict[str, Any]:
    """The document; its serial number follows from what it lists."""
    listed = [part.cyclonedx() for part in parts]
    own = next((part for part in parts if part.purl.startswith("pkg:pypi/attnloss@")), None)
    about = {"type": "container", "name": "attnloss", "version": own.version if own else UNKNOWN}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, json.dumps(listed))}",
        "version": 1,
        "metadata": {"component": about},
        "components": listed,
    }


def licence_list(parts: list[Component]) -> str:
    """A line for each part: name, version, licence; those that declare none last."""
    lines = [f"{part.name} {part.version}\t{part.licence}" for part in parts if part.licences]
    lines += [f"{part.name} {part.version}\t{UNKNOWN}" for part in parts if not part.licences]
    return "\n".join(lines) + "\n"


def main(folder: Path) -> None:
    """Write both files of the environment that runs this."""
    folder.mkdir(parents=True, exist_ok=True)
    own = [path for path in sys.path if path.endswith("site-packages")]
    of_the_base = map(str, Path("/").glob("usr/local/lib/python3*/site-packages"))
    parts = components(Path("/"), [*own, *of_the_base])
    (folder / "sbom.cdx.json").write_text(json.dumps(cyclonedx(parts), indent=1) + "\n")
    (folder / "licences.txt").write_text(licence_list(parts))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
