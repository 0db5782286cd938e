"""What no line of the library and the service may do, read from their source."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted(path for package in ("attnloss", "service") for path in (ROOT / package).rglob("*.py"))
EXECUTING = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
BUILDING = {"eval", "exec", "compile", "__import__"}
UNSAFE_VALUES = {"allow_pickle", "shell", "trust_remote_code"}


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_that_arrives_can_become_code(path: Path) -> None:
    tree = ast.parse(path.read_text())
    imported = {
        name.name.partition(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names
    } | {(node.module or "").partition(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported & EXECUTING == set()
    for name, call in calls(tree):
        assert name not in BUILDING, f"line {call.lineno} calls {name}"
        assert name != "torch.load", f"line {call.lineno}: weights are safetensors"
        assert name not in ("os.system", "os.popen", "yaml.load"), f"line {call.lineno} calls {name}"
        for keyword in call.keywords:
            unsafe = keyword.arg in UNSAFE_VALUES and not (
                isinstance(keyword.value, ast.Constant) and keyword.value.value in (False, None)
            )
            assert not unsafe, f"line {call.lineno} sets {keyword.arg}"
