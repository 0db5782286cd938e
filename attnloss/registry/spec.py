"""What the registry says of a loss. Imports no torch."""

from dataclasses import dataclass
from typing import Literal

ParameterKind = Literal["number", "choice", "map", "target", "index", "positions", "shares", "indices", "other"]


@dataclass(frozen=True)
class Parameter:
    """One keyword of a loss.

    `kind` is what a value looks like: a "map" is a float array [n, m] or of the shape of the weights; an
    "index" an integer array of that shape without m, "positions" a float one; a "target" is a map, an index,
    or with "shares" an integer array [..., n, k]; "indices" are integers; "other" is the query, key and scale
    of a second map. `minimum` is included, `maximum` is not.
    """

    name: str
    kind: ParameterKind
    default: float | str | tuple[int, ...] | None = None
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    required: bool = False
    help: str = ""


@dataclass(frozen=True)
class LossSpec:
    """One loss: what it computes, from what, and what may be asked of it.

    `passes` is its share of a request's cost in passes over the score map, besides the one that all share; a
    second map is one more; `row_cost` is what each query costs beyond, in score elements, where queries are gone
    through one by one.
    """

    name: str
    summary: str
    formula: str
    paper: str
    parameters: tuple[Parameter, ...] = ()
    needs: tuple[str, ...] = ("query", "key")
    differentiable: bool = True
    per_query: bool = True
    passes: int = 0
    row_cost: int = 0


def compat(*choices: str, help_text: str) -> Parameter:
    """Name the codebases whose definition may be followed."""
    return Parameter("compat", "choice", choices=choices, help=f"follow that code, its own reduction too: {help_text}")


def eps(help_text: str) -> Parameter:
    """Clamp what a logarithm is taken of."""
    return Parameter("eps", "number", default=0.0, minimum=0.0, maximum=1.0, help=help_text)
