"""What is asked of an attention layer, and its computation."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from attnloss import losses
from attnloss.attention import functionals
from attnloss.errors import FieldError
from attnloss.functional import Functional
from attnloss.loss import Loss, evaluate_losses
from attnloss.probe.errors import ProbeError
from attnloss.probe.inputs import Inputs
from attnloss.score_map import ScoreMap
from attnloss.scores import Scores
from attnloss.statistics import Expectation, Weights
from attnloss.streaming import Evaluation, evaluate

OUTPUT = "attention output"
"""Name of the model's own output among the statistics; no statistic is called so."""

CHECKED_QUERIES = 8


@dataclass(frozen=True, eq=False)
class Plan:
    """What is asked of each layer that was chosen; `losses` are name and parameters by label."""

    returns: tuple[str, ...]
    losses: Mapping[str, tuple[str, Mapping[str, Any]]]
    top_k: int | None
    window: tuple[tuple[int, int] | None, tuple[int, int] | None]
    keep_scores: bool
    heads: tuple[int, ...]
    backend: str

    @property
    def empty(self) -> bool:
        """Whether nothing is asked."""
        return not (self.returns or self.losses or self.keep_scores)


@dataclass(frozen=True, eq=False)
class Measured:
    """What a layer came to; `output` is None where the model's own attention has to compute it."""

    inputs: Inputs
    values: dict[str, Tensor]
    losses: dict[str, Tensor]
    terms: dict[str, Loss]
    backend: str
    output: Float[Tensor, "B H n dv"] | None


def measure(plan: Plan, inputs: Inputs, *, with_output: bool) -> Measured:
    """Compute what is asked, and the output of the layer in the same pass where one kernel gives both."""
    whole = plan.heads == tuple(range(inputs.query.shape[1]))
    if plan.heads[-1] >= inputs.query.shape[1]:
        raise ProbeError(f"head {plan.heads[-1]} was chosen in a layer of {inputs.query.shape[1]} heads")
    chosen = inputs if whole else inputs.cut(plan.heads)
    scores = chosen.scores
    queries, keys = plan.window
    wanted = functionals(scores, plan.returns, value=chosen.value, top_k=plan.top_k, queries=queries, keys=keys)
    terms = _terms(plan, scores)
    found = None
    if with_output and whole and plan.backend in ("auto", "native"):
        found = _at_once(chosen, wanted, terms)
    output = None
    if found is not None:
        output = found[1].values.pop(OUTPUT)
    elif wanted or terms:
        found = evaluate_losses(scores, terms, wanted, backend=plan.backend)
    values, evaluation = ({}, Evaluation({}, "none")) if found is None else found
    return Measured(chosen, evaluation.values, values, terms, evaluation.backend, output)


def _terms(plan: Plan, scores: ScoreMap) -> dict[str, Loss]:
    terms = {}
    for place, (label, (name, given)) in enumerate(plan.losses.items()):
        try:
            terms[label] = losses.build(name, scores, given)
        except FieldError as error:
            raise FieldError(f"losses[{place}].{error.field}", error.index, str(error)) from None
    return terms


def attended(inputs: Inputs, backend: str) -> Float[Tensor, "B H n dv"]:
    """Compute the output of a layer by this library."""
    values = Expectation(inputs.value.to(inputs.scores.dtype))
    return evaluate(inputs.scores, {OUTPUT: values}, backend=backend).values[OUTPUT]


def native_output(inputs: Inputs) -> Float[Tensor, "B H n dv"] | None:
    """Compute the output by the native kernel, where it is there and can."""
    found = _at_once(inputs, {}, {})
    return None if found is None else found[1].values[OUTPUT]


def _at_once(
    inputs: Inputs, wanted: Mapping[str, Functional], terms: Mapping[str, Loss]
) -> tuple[dict[str, Tensor], Evaluation] | None:
    """Compute everything and the output by the native kernel; None where it cannot."""
    if inputs.query.device.type != "cpu" or not isinstance(inputs.scores, Scores):
        return None
    output = Expectation(inputs.value.to(inputs.scores.dtype))
    try:
        return evaluate_losses(inputs.scores, terms, {**wanted, OUTPUT: output}, backend="native")
    except ValueError:  # it refuses before it computes, and another backend takes over
        return None


def check_causal(inputs: Inputs) -> None:
    """Check on the weights of the first queries that none sees a later key: a mask may have been dropped.

    Raises ProbeError. Looks at self-attention without a cache, where queries and keys are the same tokens.
    """
    scores = inputs.scores
    n = scores.shape[2]
    if n != scores.shape[3]:
        return
    valid = scores.valid.flatten(0, 1).any(0).expand(n)
    first = int(valid.int().argmax())
    stop = min(first + CHECKED_QUERIES, n)
    with torch.no_grad():
        weights = evaluate(scores, {"weights": Weights(range(first, stop), range(n))}).values["weights"]
    if bool(weights.triu(first + 1).any()):
        raise ProbeError("a query of a causal layer sees a later key: the causal mask was lost on the way")
