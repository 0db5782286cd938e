"""What the public function of every loss does around its functional."""

from collections.abc import Callable, Mapping
from typing import Unpack

from torch import Tensor

from attnloss import ranks
from attnloss.functional import Functional
from attnloss.options import ScoreOptions
from attnloss.reduce import reduce
from attnloss.scores import make_scores
from attnloss.streaming import evaluate


def compute(
    query: Tensor,
    key: Tensor,
    build: Callable[..., Functional],
    parameters: Mapping[str, object],
    *,
    reduction: str = "mean",
    backend: str = "auto",
    **options: Unpack[ScoreOptions],
) -> Tensor:
    """Evaluate one loss and reduce it; with reduction "none" in the rank of the request."""
    scores = make_scores(query, key, **options)
    per_query = evaluate(scores, {"loss": build(scores, **parameters)}, backend=backend).values["loss"]
    reduced = reduce(per_query, scores.valid, reduction)
    return ranks.restore(reduced, scores.rank) if reduction == "none" else reduced
