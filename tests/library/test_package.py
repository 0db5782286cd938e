"""The package as one imports it."""

import inspect
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import attnloss
from attnloss import losses, registry
from attnloss.reduce import reduce

ROOT = Path(__file__).parents[2]


def python(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=60)


@pytest.mark.parametrize("module", ["attnloss", "attnloss.registry", "attnloss.errors", "attnloss.shapes"])
def test_importing_what_a_validating_process_needs_does_not_import_torch(module: str) -> None:
    python(f"import sys, {module}; assert 'torch' not in sys.modules")


def test_attention_is_the_function_in_whatever_order_one_imports() -> None:
    python("from attnloss.attention import attention as a; import attnloss; assert attnloss.attention is a")
    python("import attnloss; f = attnloss.attention; import attnloss.streaming; assert attnloss.attention is f")
    python("import attnloss.attention; from attnloss import attention, lse, expect; assert callable(attention)")


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing"):
        _ = attnloss.nothing


def test_every_public_name_exists() -> None:
    for name in dir(attnloss):
        assert getattr(attnloss, name) is not None


def test_the_registry_and_the_losses_name_the_same() -> None:
    assert set(registry.LOSSES) == set(losses.__all__) - {"build"}
    for name, spec in registry.LOSSES.items():
        assert spec.name == name
        parameters = {parameter.name for parameter in spec.parameters}
        keywords = inspect.signature(getattr(losses, name)).parameters.values()
        code = {keyword.name for keyword in keywords if keyword.kind is keyword.KEYWORD_ONLY}
        assert parameters - {"other"} == code - {"other_scale"}
        assert ("other" in parameters) == ("other_scale" in code)


def test_mean_is_one_mean_over_all_valid_queries() -> None:
    values = torch.tensor([[[1.0, 2.0, 9.0]], [[6.0, 9.0, 9.0]]])
    valid = torch.tensor([[[True, True, False]], [[True, False, False]]])
    assert reduce(values, valid, "mean") == 3
    assert reduce(values, valid, "sum") == 9
    assert reduce(values, valid, "none").tolist() == [[[1, 2, 0]], [[6, 0, 0]]]
    assert reduce(values, torch.zeros_like(valid), "mean") == 0
