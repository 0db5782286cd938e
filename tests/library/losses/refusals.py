"""How a parameter that does not fit is offered to a loss."""

from typing import Any

import pytest

from attnloss import FieldError, losses
from attnloss.scores import make_other, make_scores
from tests.library.losses.cases import ONE_EACH, ORDERED, TWO_MAPS, Parameters, Problem, setting

N, M = 5, 7
"""Of the problems, but for losses of ways, where they are exchanged."""


def base(name: str) -> tuple[Problem, Parameters]:
    """A problem and parameters that fit."""
    problem = setting("plain", ordered=name in ORDERED)
    parameters = dict(ONE_EACH[name][1](problem))
    if name in TWO_MAPS:
        parameters["other"] = make_other(scores(problem), problem.other_query, problem.other_key)
    return problem, parameters


def scores(problem: Problem) -> Any:
    return make_scores(problem.query, problem.key, **problem.options)


def refused(name: str, change: Parameters, problem: Problem | None = None) -> FieldError:
    own, parameters = base(name)
    for key in ("target", "target_weights", "probability"):
        if key in change or "probability" in change:
            parameters.pop(key, None)
    with pytest.raises(FieldError) as caught:
        losses.build(name, scores(problem or own), parameters | change)
    assert isinstance(caught.value, ValueError)
    return caught.value
