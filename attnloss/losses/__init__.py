"""Losses over attention weights, one a file; `attnloss.registry.LOSSES` tells their parameters.

Each module `attnloss.losses.<name>` says what the loss is, and holds `build(scores, **parameters)`, which
validates and makes the `Loss`, and the public function `<name>(query, key, ...)` with its `from_weights`.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from attnloss.loss import Loss
from attnloss.losses.bin import bin
from attnloss.losses.collision import collision
from attnloss.losses.cosine import cosine
from attnloss.losses.coverage import coverage
from attnloss.losses.cross_entropy import cross_entropy
from attnloss.losses.disagreement import disagreement
from attnloss.losses.distance import distance
from attnloss.losses.doubly_stochastic import doubly_stochastic
from attnloss.losses.entmax import entmax
from attnloss.losses.entropy import entropy
from attnloss.losses.forward_sum import forward_sum
from attnloss.losses.guided import guided
from attnloss.losses.hellinger import hellinger
from attnloss.losses.js import js
from attnloss.losses.kl import kl
from attnloss.losses.map_mse import map_mse
from attnloss.losses.monotonic import monotonic
from attnloss.losses.normalized_entropy import normalized_entropy
from attnloss.losses.order import order
from attnloss.losses.orthogonality import orthogonality
from attnloss.losses.permutation import permutation
from attnloss.losses.renyi import renyi
from attnloss.losses.reverse_kl import reverse_kl
from attnloss.losses.row_sum import row_sum
from attnloss.losses.score_mse import score_mse
from attnloss.losses.sink import sink
from attnloss.losses.sparsemax import sparsemax
from attnloss.losses.target_entropy import target_entropy
from attnloss.losses.total_variation import total_variation
from attnloss.losses.variance import variance
from attnloss.registry import check_parameters
from attnloss.score_map import ScoreMap

__all__ = [
    "bin",
    "build",
    "collision",
    "cosine",
    "coverage",
    "cross_entropy",
    "disagreement",
    "distance",
    "doubly_stochastic",
    "entmax",
    "entropy",
    "forward_sum",
    "guided",
    "hellinger",
    "js",
    "kl",
    "map_mse",
    "monotonic",
    "normalized_entropy",
    "order",
    "orthogonality",
    "permutation",
    "renyi",
    "reverse_kl",
    "row_sum",
    "score_mse",
    "sink",
    "sparsemax",
    "target_entropy",
    "total_variation",
    "variance",
]


def build(name: str, scores: ScoreMap, parameters: Mapping[str, Any]) -> Loss:
    """Validate the parameters of a loss against the scores and build it.

    `other`, where the loss takes a second map, is one described by `attnloss.scores.make_other`.

    Raises ValueError for a name or a parameter that the registry does not list, FieldError for a value that
    does not fit.
    """
    check_parameters(name, parameters)
    # by its path: a module and the function in it have one name, and `bin` is a builtin besides
    loss: Loss = import_module(f"{__name__}.{name}").build(scores, **parameters)
    return loss
