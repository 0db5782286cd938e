"""Attention with its statistics, in one pass."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor

from attnloss import checks, ranks
from attnloss.columns import Received
from attnloss.errors import FieldError
from attnloss.functional import Functional
from attnloss.registry import STATISTICS
from attnloss.score_map import ScoreMap
from attnloss.scores import make_scores
from attnloss.statistics import Entropy, Expectation, LargestWeight, Lse, Weights
from attnloss.streaming import evaluate
from attnloss.top import TopIndex, TopWeight


@dataclass(frozen=True, eq=False)
class Top:
    """The top_k keys of each query, descending by weight, ties to the lower index.

    Where fewer keys are allowed, the index is −1 and the weight 0.
    """

    index: Int[Tensor, "*batch n top_k"]
    weight: Float[Tensor, "*batch n top_k"]


@dataclass(frozen=True, eq=False)
class AttentionResult:
    """What was asked for, the rest None, and the backend that computed it.

    `output` has the dtype of the inputs, everything else float32, or float64 for float64 inputs.
    """

    backend: str
    output: Float[Tensor, "*batch n dv"] | None = None
    weights: Float[Tensor, "*batch rows cols"] | None = None
    lse: Float[Tensor, "*batch n"] | None = None
    entropy: Float[Tensor, "*batch n"] | None = None
    max: Float[Tensor, "*batch n"] | None = None
    received: Float[Tensor, "*batch m"] | None = None
    top: Top | None = None


def attention(
    query: Float[Tensor, "*batch n d"],
    key: Float[Tensor, "*key_batch m d"],
    value: Float[Tensor, "*key_batch m dv"] | None = None,
    *,
    causal: bool = False,
    mask: Bool[Tensor, "..."] | None = None,
    key_lengths: Tensor | Sequence[int] | int | None = None,
    query_lengths: Tensor | Sequence[int] | int | None = None,
    scale: float | None = None,
    returns: Sequence[str] = ("output",),
    top_k: int | None = None,
    queries: tuple[int, int] | None = None,
    keys: tuple[int, int] | None = None,
    backend: str = "auto",
) -> AttentionResult:
    """Compute softmax(scale·QKᵀ)V (Vaswani et al. 2017, Attention Is All You Need) and statistics of it.

    Inputs have rank 2 [n, d], 3 [batch, n, d] or 4 [batch, heads, n, d], and so have the results; key heads
    may divide query heads. `returns` names what to compute, of output, weights, lse, entropy (nats), max
    (the largest weight), received (Σ_i p_ij per key and query head) and top (needs `top_k`). Only weights
    take n·m memory, and `queries` and `keys`, each (start, stop), cut a window out of them.

    `mask` is true where a query may attend. `causal` is aligned to the end: the last valid query sees up to
    the last valid key. Lengths are one per batch entry. All combine by AND. A query that may attend to
    nothing has output, weights, entropy and max 0 and lse −∞. `scale` is 1/√d by default. `backend` is
    auto, native, flash, chunked or reference.

    Scores beyond the range of float32 are not an error; they leave inf or NaN in the results.

    Raises FieldError (a ValueError) naming the argument, what was expected and what came.
    """
    scores = make_scores(
        query,
        key,
        causal=causal,
        mask=mask,
        key_lengths=key_lengths,
        query_lengths=query_lengths,
        scale=scale,
    )
    if value is not None:
        checks.like_key("value", value, key)
    lifted = None if value is None else ranks.lift(value, scores.rank)
    wanted = functionals(scores, returns, value=lifted, top_k=top_k, queries=queries, keys=keys)
    evaluation = evaluate(scores, wanted, backend=backend)
    values = {name: ranks.restore(result, scores.rank) for name, result in evaluation.values.items()}
    if "output" in values:
        values["output"] = values["output"].to(scores.input_dtype)
    return AttentionResult(evaluation.backend, **_with_top(values))  # type: ignore[arg-type]  # a name, a field


def _with_top(values: Mapping[str, Tensor]) -> dict[str, Tensor | Top]:
    results: dict[str, Tensor | Top] = {name: value for name, value in values.items() if name[:4] != "top_"}
    if "top_index" in values:
        results["top"] = Top(values["top_index"], values["top_weight"])
    return results


def functionals(
    scores: ScoreMap,
    returns: Sequence[str],
    *,
    value: Float[Tensor, "B Hkv m dv"] | None = None,
    top_k: int | None = None,
    queries: tuple[int, int] | None = None,
    keys: tuple[int, int] | None = None,
) -> dict[str, Functional]:
    """Build what `evaluate` needs for the named statistics, in rank 4; top becomes top_index and top_weight.

    Raises FieldError as `attention` does.
    """
    n, m = scores.shape[2:]
    wanted: dict[str, Functional] = {}
    for name in returns:
        if name not in STATISTICS:
            raise FieldError("returns", (), f"returns must name some of {', '.join(STATISTICS)}; got {name!r}")
    if "output" in returns:
        if value is None:
            raise FieldError("value", (), "value must be given when the output is asked for, got None")
        wanted["output"] = Expectation(value.to(scores.dtype))
    if "weights" in returns:
        wanted["weights"] = Weights(checks.window("queries", queries, n), checks.window("keys", keys, m))
    elif queries is not None or keys is not None:
        field = "queries" if queries is not None else "keys"
        raise FieldError(field, (), f"{field} cuts a window out of weights, which are not in {list(returns)}")
    plain: dict[str, type[Functional]] = {
        "lse": Lse,
        "entropy": Entropy,
        "max": LargestWeight,
        "received": Received,
    }
    wanted |= {name: kind() for name, kind in plain.items() if name in returns}
    if "top" in returns:
        count = checks.top_count(top_k, m)
        wanted |= {"top_index": TopIndex(count), "top_weight": TopWeight(count)}
    return wanted
