"""The shape of the code, as section 3 of the design draws it."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MOST_LINES = 250
SOURCES = sorted(
    path.relative_to(ROOT) for package in ("attnloss", "service") for path in ROOT.glob(f"{package}/**/*.py")
)
MODULES = [".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in SOURCES]
STAGES = {"codec", "schemas", "job", "link", "batcher", "worker"}

# Which stages each stage may know: the nouns that it handles. Only the application knows their order.
KNOWS = {
    "codec": set(),
    "schemas": {"codec"},
    "job": set(),
    "link": {"job"},
    "batcher": {"job"},
    "worker": {"job", "batcher"},
}

# What importing a module must not load, in a fresh interpreter.
NOT_LOADED = {
    "attnloss": ["torch", "service", "numpy", "matplotlib"],
    "attnloss.plot": ["torch", "service", "matplotlib.pyplot"],
    "attnloss.registry": ["torch", "service"],
    "attnloss.shapes": ["torch", "service"],
    "service.app": ["torch"],
    "service.cli": ["torch", "fastapi", "zmq", "httpx", "numpy", "pydantic", "matplotlib"],
    "service.serve": ["torch", "fastapi"],
    "service.api_process": ["torch"],
    "service.batcher": ["torch", "fastapi", "zmq"],
    "service.codec": ["torch", "fastapi", "zmq"],
    "service.schemas": ["torch", "fastapi", "zmq"],
    "service.job": ["torch", "fastapi", "zmq"],
    "service.link": ["torch", "fastapi", "simdjson"],
    "service.worker_main": ["fastapi", "uvicorn", "simdjson", "transformers"],
    "service.client": ["torch", "fastapi", "pydantic", "zmq", "simdjson"],
    "service.text.validate": ["torch", "fastapi", "zmq"],
    "service.ray": ["torch", "service.app", "zmq"],
    "service.ray.ingress": ["torch"],
    "service.ray.worker": ["torch", "service.app"],
    "attnloss.probe": ["transformers", "service"],
}


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in the file."""
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def python(program: str, cwd: Path) -> str:
    path = f"import sys; sys.path.insert(0, {str(ROOT)!r}); "
    command = [sys.executable, "-c", path + program]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, env={"TMPDIR": str(cwd)})
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("path", [path for path in SOURCES if path.parts[0] == "attnloss"], ids=str)
def test_the_library_imports_nothing_of_the_service(path: Path) -> None:
    assert {name.partition(".")[0] for name in imports(path)} & {"service", "fastapi", "zmq", "pydantic"} == set()


@pytest.mark.parametrize("stage", sorted(STAGES))
def test_a_stage_knows_only_the_nouns_that_it_handles(stage: str) -> None:
    known = {name.removeprefix("service.").partition(".")[0] for name in imports(Path(f"service/{stage}.py"))}
    assert known & STAGES <= KNOWS[stage]


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_nobody_imports_the_application_but_who_serves_it(path: Path) -> None:
    if str(path) not in ("service/api_process.py", "service/ray/ingress.py"):
        assert "service.app" not in set(imports(path))


@pytest.mark.parametrize("module", NOT_LOADED)
def test_importing_a_module_does_not_load_what_it_must_do_without(module: str, tmp_path: Path) -> None:
    loaded = python(f"import {module}; print(*sys.modules)", tmp_path).split()
    assert module in loaded
    assert set(NOT_LOADED[module]) & set(loaded) == set()


def test_nothing_happens_at_import(tmp_path: Path) -> None:
    """No thread, no child, no file, no signal handler, no word."""
    program = f"""
import importlib, os, signal, threading, psutil
handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)]
for module in {MODULES!r}:
    importlib.import_module(module)
    assert threading.enumerate() == [threading.main_thread()], module
    assert not [c for c in psutil.Process().net_connections("all")], module
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)] == handlers, module
assert not psutil.Process().children()
"""
    assert python(f"exec({program!r})", tmp_path) == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("package", ["attnloss", "service", "tests", "benchmarks", "docs", "examples", "tools"])
def test_no_source_file_is_too_long(package: str) -> None:
    lines = {path: len(path.read_text().splitlines()) for path in ROOT.glob(f"{package}/**/*.py")}
    assert {str(path): count for path, count in lines.items() if count > MOST_LINES} == {}


@pytest.mark.parametrize("package", ["attnloss", "service"])
def test_a_package_says_that_it_is_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").exists()
