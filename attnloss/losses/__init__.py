"""Losses over attention weights, one a file; `attnloss.registry.LOSSES` tells their parameters.

Each module `attnloss.losses.<name>` holds the functional, `functional(scores, **parameters)` that validates
and builds it, and the public function `<name>(query, key, ...)`.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from attnloss.functional import Functional
from attnloss.losses.cross_entropy import cross_entropy
from attnloss.losses.entropy import entropy
from attnloss.losses.row_sum import row_sum
from attnloss.registry import LOSSES
from attnloss.scores import Scores

__all__ = ["build", "cross_entropy", "entropy", "row_sum"]


def build(name: str, scores: Scores, parameters: Mapping[str, Any]) -> Functional:
    """Validate the parameters of a loss against the scores and build its functional.

    Raises ValueError for a name or a parameter that the registry does not list, FieldError for a value that
    does not fit.
    """
    if name not in LOSSES:
        raise ValueError(f"loss must be one of {', '.join(LOSSES)}; got {name!r}")
    known = [parameter.name for parameter in LOSSES[name].parameters]
    for given in parameters:
        if given not in known:
            raise ValueError(f"{name} takes {', '.join(known) or 'no parameters'}; got {given!r}")
    functional: Functional = import_module(f"{__name__}.{name}").functional(scores, **parameters)
    return functional
