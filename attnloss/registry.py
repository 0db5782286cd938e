"""What losses and statistics exist: names, parameters with ranges, needs. Imports no torch.

A process that only validates requests reads this table; `attnloss.losses` holds the computation, and a test
keeps both in step.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

STATISTICS: tuple[str, ...] = ("output", "weights", "lse", "entropy", "max", "received", "top")


@dataclass(frozen=True)
class Parameter:
    """One keyword of a loss.

    `kind` is what a value looks like: a "map" is a float array [n, m] or of the shape of the weights; a
    "target" is either such a map or an integer array of that shape without m. `minimum` is included,
    `maximum` is not.
    """

    name: str
    kind: Literal["number", "integer", "choice", "map", "target"]
    default: float | str | None = None
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    help: str = ""


@dataclass(frozen=True)
class LossSpec:
    """One loss: what it computes, from what, and what may be asked of it."""

    name: str
    summary: str
    formula: str
    paper: str
    parameters: tuple[Parameter, ...] = ()
    needs: tuple[str, ...] = ("query", "key")
    differentiable: bool = True
    per_query: bool = True


_SPECS = (
    LossSpec(
        name="entropy",
        summary="How spread the weights of a query are: 0 for one key, log m for all keys alike.",
        formula="−Σ_j p_ij·log p_ij",
        paper="Zhai et al. 2023, Stabilizing Transformer Training by Preventing Attention Entropy Collapse",
    ),
    LossSpec(
        name="cross_entropy",
        summary="Distance of the weights from a target to be learned, or from the article's probability.",
        formula="target: −Σ_j target_ij·log p_ij; probability: −Σ_j p_ij·log probability_ij",
        paper="Liu et al. 2016, Neural Machine Translation with Supervised Attention",
        parameters=(
            Parameter("target", "target", help="the key each query should attend to, or its distribution over keys"),
            Parameter("probability", "map", help="the distribution inside the logarithm, one row per query"),
            Parameter(
                "kind",
                "choice",
                choices=("index", "dense"),
                help="how to read an integer target whose shape fits both; null decides by dtype and shape",
            ),
            Parameter(
                "eps",
                "number",
                default=0.0,
                minimum=0.0,
                maximum=1.0,
                help="log(max(x, eps)) instead of log(x)",
            ),
        ),
    ),
    LossSpec(
        name="row_sum",
        summary="The article's sample code, kept to be checked: 0 for every input, as softmax rows sum to 1.",
        formula="−Σ_j p_ij·log(Σ_j p_ij)",
        paper="the article behind the project; degenerate, use entropy or cross_entropy",
    ),
)

LOSSES: Mapping[str, LossSpec] = MappingProxyType({spec.name: spec for spec in _SPECS})
