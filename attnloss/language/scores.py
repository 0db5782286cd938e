"""What a model says of every token: log-probabilities, lse, entropy, best words, in one pass."""

from dataclasses import dataclass
from typing import Unpack

from jaxtyping import Bool, Float, Int, Integer
from torch import Tensor

from attnloss.language import checks
from attnloss.language import tokens as requests
from attnloss.language.statistics import Wanted
from attnloss.language.tokens import LogitsOptions, TokenOptions, Tokens


@dataclass(frozen=True, eq=False)
class TopLogProbs:
    """The k likeliest words of each token, descending, ties to the lower index; values are differentiable."""

    values: Float[Tensor, "*batch k"]
    indices: Int[Tensor, "*batch k"]


@dataclass(frozen=True, eq=False)
class TokenScores:
    """What was asked for, per token in nats, the rest None.

    `scored` is false where the target was ignored: values are 0 there, and indices −1.
    """

    lse: Float[Tensor, "*batch"]
    scored: Bool[Tensor, "*batch"]
    log_prob: Float[Tensor, "*batch"] | None = None
    entropy: Float[Tensor, "*batch"] | None = None
    top: TopLogProbs | None = None


def token_scores(
    hidden: Float[Tensor, "*batch d"],
    weight: Float[Tensor, "V d"],
    targets: Integer[Tensor, "*batch"] | None = None,
    *,
    entropy: bool = False,
    top_k: int | None = None,
    **options: Unpack[TokenOptions],
) -> TokenScores:
    """Compute L_i, with targets log p_i(y_i), and on demand the entropy and the top_k words, in one pass.

    Whatever of it a loss is made of, its gradient takes one more pass. `options` are bias, ignore_index
    (−100) and backend ("auto" is "chunked"; "reference" is dense float64; "linear" cannot do this). Raises
    FieldError, naming the argument and the place in it, for what does not fit, for logits that are NaN or +∞,
    and for a target whose logit is −∞.
    """
    return _scores(requests.of_projection(hidden, weight, targets, **options), entropy=entropy, top_k=top_k)


def token_scores_from_logits(
    logits: Float[Tensor, "*batch V"],
    targets: Integer[Tensor, "*batch"] | None = None,
    *,
    entropy: bool = False,
    top_k: int | None = None,
    **options: Unpack[LogitsOptions],
) -> TokenScores:
    """Do as `token_scores` does with logits that are there already: no float32 copy of them is made."""
    return _scores(requests.of_logits(logits, targets, **options), entropy=entropy, top_k=top_k)


def top_log_probs(
    hidden: Float[Tensor, "*batch d"],
    weight: Float[Tensor, "V d"],
    k: int,
    *,
    bias: Float[Tensor, " V"] | None = None,
    backend: str = "auto",
) -> TopLogProbs:
    """Compute the k largest log-probabilities of every token; see `token_scores`."""
    tokens = requests.of_projection(hidden, weight, None, bias=bias, backend=backend)
    checks.top_count("k", k, weight.shape[0])
    top = _scores(tokens, entropy=False, top_k=k).top
    assert top is not None
    return top


def entropy(
    hidden: Float[Tensor, "*batch d"],
    weight: Float[Tensor, "V d"],
    *,
    bias: Float[Tensor, " V"] | None = None,
    backend: str = "auto",
) -> Float[Tensor, "*batch"]:
    """−Σ_j p_ij·log p_ij over the vocabulary, for every token; see `token_scores`."""
    result = token_scores(hidden, weight, entropy=True, bias=bias, backend=backend).entropy
    assert result is not None
    return result


def _scores(tokens: Tokens, *, entropy: bool, top_k: int | None) -> TokenScores:
    if top_k is not None:
        checks.top_count("top_k", top_k, tokens.source.shape[1])
    count = len(tokens.source.first)
    empty = tokens.scored.new_zeros((count, 0)).long()
    picks = empty if tokens.targets is None else tokens.targets[:, None]
    result = tokens.compute(Wanted(picks, entropy=entropy, top=top_k or 0))
    top = None
    if result.top is not None and result.top_index is not None:
        top = TopLogProbs(tokens.restore(result.top), tokens.restore(result.top_index, fill=-1))
    return TokenScores(
        lse=tokens.restore(result.lse),
        scored=tokens.scored,
        log_prob=None if tokens.targets is None else tokens.restore(result.picked[:, 0]),
        entropy=None if result.entropy is None else tokens.restore(result.entropy),
        top=top,
    )
