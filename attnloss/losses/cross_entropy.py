"""Cross-entropy between the attention weights and a given map.

    target, a distribution per query:   loss_i = −Σ_j t_ij·log p_ij
    target, a key a_i per query:        loss_i = −log p_{i,a_i}
    target, keys k with weights w:      loss_i = −Σ_t w_it·log p_{i,k_it}
    probability:                        loss_i = −Σ_j p_ij·log r_ij
    smoothing ε of a target:            loss_i = (1 − ε)·the above − (ε / M_i)·Σ_j log p_ij

    p_ij: weight of key j for query i; t_ij: target; r_ij: probability; M_i: count of allowed keys;
    0·log 0 = 0; sums over allowed keys; in nats

The first three supervise alignment (Liu et al. 2016, Neural Machine Translation with Supervised Attention;
Mi et al. 2016; Garg et al. 2019, Jointly Learning to Align and Translate); the fourth is the loss of the
article behind this project. `eps` replaces log(x) by log(max(x, eps)).

`compat` is for a target, and returns what these codebases' own functions return: the *sum* over queries, in
nats. "fairseq" leaves the logarithm unclamped; its trainer multiplies by 0.05 (`alignment_lambda`), divides
by the number of tokens, and logs bits. "opennmt" clamps the weight to 1e-18; its trainer multiplies by
`lambda_align`. In both a query whose target is all 0 has no link, and counts 0.
"""

from typing import Unpack

from jaxtyping import Float, Shaped
from torch import Tensor

from attnloss import checks
from attnloss.errors import FieldError
from attnloss.functional import Functional
from attnloss.loss import Loss, Parts, sum_over_queries
from attnloss.losses import targets
from attnloss.losses.public import compute, loss_function
from attnloss.losses.supervised import DenseTarget, IndexTarget, Probability, SparseTarget, UniformTarget
from attnloss.options import LossOptions
from attnloss.score_map import ScoreMap

OPENNMT_LEAST = 1e-18
"""What OpenNMT-py clamps weights to; below float32's least normal square, so its logarithm is taken of p."""


def build(
    scores: ScoreMap,
    *,
    target: Shaped[Tensor, "..."] | None = None,
    target_weights: Float[Tensor, "..."] | None = None,
    probability: Float[Tensor, "..."] | None = None,
    kind: str | None = None,
    eps: float = 0.0,
    smoothing: float = 0.0,
    compat: str | None = None,
) -> Loss:
    """Validate the parameters and build the loss; see `cross_entropy`."""
    checks.within("eps", eps, 0.0, 1.0)
    checks.within("smoothing", smoothing, 0.0, 1.0)
    checks.compat(compat, "fairseq", "opennmt")
    if (target is None) == (probability is None):
        came = "neither" if target is None else "both"
        raise FieldError("target", (), f"cross_entropy needs either target or probability, got {came}")
    if probability is not None:
        of_target = {"kind": kind, "smoothing": smoothing or None, "compat": compat, "target_weights": target_weights}
        for field, given in of_target.items():
            if given is not None:
                raise FieldError(field, (), f"{field} belongs to a target, got it with a probability")
        lifted = targets.distributions(probability, "probability", scores)
        if eps == 0:
            targets.supports(probability, lifted, scores)
        return Loss.of(Probability(lifted, eps))
    assert target is not None
    if compat is not None and (eps or smoothing):
        raise FieldError("compat", (), f"compat {compat} fixes eps and smoothing, got eps={eps}, smoothing={smoothing}")
    eps = OPENNMT_LEAST if compat == "opennmt" else eps
    supervised = _supervised(scores, target, target_weights, kind, eps, unlinked=compat is not None)
    own = None if compat is None else sum_over_queries
    if not smoothing:
        return Loss.of(supervised, own)

    def mix(parts: Parts) -> Tensor:
        return (1 - smoothing) * parts["target"] + smoothing * parts["uniform"]

    return Loss({"target": supervised, "uniform": UniformTarget(eps)}, mix)


def _supervised(
    scores: ScoreMap, target: Tensor, target_weights: Tensor | None, kind: str | None, eps: float, *, unlinked: bool
) -> Functional:
    kind = targets.kind_of(target, kind, scores, weighted=target_weights is not None)
    if kind == "index":
        return IndexTarget(targets.index(target, scores, may_miss=eps > 0, clampable=True), eps)
    if target_weights is not None:
        parts = targets.sparse(target, target_weights, scores, may_miss=eps > 0, may_be_empty=unlinked)
        return SparseTarget(*parts, eps)
    lifted = targets.distributions(target, "target", scores, may_be_empty=unlinked)
    if eps == 0:
        targets.reached(lifted, scores)
    return DenseTarget(lifted, eps)


@loss_function(build)
def cross_entropy(
    query: Float[Tensor, "*batch n d"],
    key: Float[Tensor, "*key_batch m d"],
    *,
    target: Shaped[Tensor, "..."] | None = None,
    target_weights: Float[Tensor, "..."] | None = None,
    probability: Float[Tensor, "..."] | None = None,
    kind: str | None = None,
    eps: float = 0.0,
    smoothing: float = 0.0,
    compat: str | None = None,
    **options: Unpack[LossOptions],
) -> Float[Tensor, "*reduced"]:
    """Cross-entropy of softmax(scale·QKᵀ) to a target or a probability, per query, reduced.

    Give either. `target` is dense, of shape [n, m] or that of the weights (size 1 allowed in batch and
    heads); or an index of integers, of shape [n] or that of the weights without m; or, with
    `target_weights` of its shape, sparse: [n, k] or [..., n, k] integers, −1 for no key. `kind` ("dense",
    "index", "sparse") decides for integers whose shape fits several. `probability` is dense. Rows are ≥ 0
    and sum to 1 ± 1e-3 over the keys that the query may attend to; what lies on other keys does not count.
    Floats among them are differentiable. 0 ≤ `smoothing` < 1 mixes a target with the uniform distribution.
    `compat` is None, "fairseq" or "opennmt".

    Raises FieldError, naming the argument and the place in it, also where the loss would be infinite: an
    index that the query may not attend to, a probability of 0 where the weight is not. `eps` > 0 clamps
    these instead.

    `options` are causal, mask, key_lengths, query_lengths and scale of `attnloss.attention`, `reduction`
    (none, mean by default, or sum, over valid queries) and `backend`.
    """
    parameters = {
        "target": target,
        "target_weights": target_weights,
        "probability": probability,
        "kind": kind,
        "eps": eps,
        "smoothing": smoothing,
        "compat": compat,
    }
    return compute(query, key, build, parameters, **options)
