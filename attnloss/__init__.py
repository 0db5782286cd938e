"""Exact, differentiable attention losses and statistics at flash-attention cost.

Importing this package, or `attnloss.registry`, does not import torch: every name is loaded at its first use.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from attnloss import language, losses, registry
    from attnloss.attention import AttentionResult, Top, attention
    from attnloss.errors import FieldError
    from attnloss.measures import effective_keys, rollout, sink_rate, top_mass
    from attnloss.modules import AttentionLoss, AttentionLosses
    from attnloss.streaming import expect, lse

__version__ = "0.1.0"

__all__ = [
    "AttentionLoss",
    "AttentionLosses",
    "AttentionResult",
    "FieldError",
    "Top",
    "__version__",
    "attention",
    "effective_keys",
    "expect",
    "language",
    "losses",
    "lse",
    "registry",
    "rollout",
    "sink_rate",
    "top_mass",
]

_HOME = {
    "AttentionLoss": "modules",
    "AttentionLosses": "modules",
    "AttentionResult": "attention",
    "FieldError": "errors",
    "Top": "attention",
    "attention": "attention",
    "effective_keys": "measures",
    "expect": "streaming",
    "lse": "streaming",
    "rollout": "measures",
    "sink_rate": "measures",
    "top_mass": "measures",
}


def __getattr__(name: str) -> Any:
    # plot is no part of __all__: `from attnloss import *` must do without matplotlib
    if name in ("language", "losses", "plot", "registry"):
        return import_module(f"{__name__}.{name}")
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


class _Package(ModuleType):
    """Keeps `attnloss.attention` the function: importing the submodule of that name would rebind it."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _HOME and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
