"""Language-model losses from hidden states and the output matrix, never holding tokens × vocabulary.

    l_ij = h_i·w_j + b_j        L_i = log Σ_j exp(l_ij)        p_ij = exp(l_ij − L_i)

    h_i: hidden state of token i, [..., d]; w_j: row j of the output matrix, [V, d]; b_j: bias, [V] or none; L_i:
    lse; y_i: the target of token i; in nats

Exact, differentiable in hidden, weight and bias, and chunked over tokens and vocabulary both ways: the backward
pass computes the logits again, tile by tile, and cannot itself be differentiated. Statistics are float32, and
float64 for float64; so are results, whatever the dtype of hidden. An ignored token is not computed at all: it
costs nothing, gets no gradient, and may hold anything.
"""

from attnloss.language.losses import cross_entropy, cross_entropy_from_logits, z_loss
from attnloss.language.metrics import bits_per_byte, perplexity, surprisal, token_log_probs
from attnloss.language.scores import (
    TokenScores,
    TopLogProbs,
    entropy,
    token_scores,
    token_scores_from_logits,
    top_log_probs,
)

__all__ = [
    "TokenScores",
    "TopLogProbs",
    "bits_per_byte",
    "cross_entropy",
    "cross_entropy_from_logits",
    "entropy",
    "perplexity",
    "surprisal",
    "token_log_probs",
    "token_scores",
    "token_scores_from_logits",
    "top_log_probs",
    "z_loss",
]
