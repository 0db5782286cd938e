"""Images of the losses of language models."""

import math

import torch
from matplotlib.figure import Figure
from torch import Tensor

from attnloss import language
from docs.plots.canvas import curves, panels

VOCABULARY = 32
LEAD = torch.linspace(-2, 12, 141).double()
TARGETS = torch.ones(len(LEAD), dtype=torch.int64)


def _logits(lead: Tensor) -> Tensor:
    """The target's logit above those of the other words, which are alike."""
    return torch.nn.functional.one_hot(TARGETS, VOCABULARY) * lead[:, None]


def smoothing() -> Figure:
    figure, (left, right) = panels(2, width=3.4)
    lines = {
        f"smoothing = {share:g}": language.cross_entropy_from_logits(
            _logits(LEAD), TARGETS, smoothing=share, reduction="none"
        )
        for share in (0.0, 0.1, 0.3)
    }
    lead = f"lead of the target's logit over {VOCABULARY - 1} words"
    curves(left, LEAD, lines, title="convention torch", xlabel=lead, ylabel="nats")
    conventions = {
        name: language.cross_entropy_from_logits(
            _logits(LEAD), TARGETS, smoothing=0.1, convention=name, ignore_index=0, reduction="none"
        )
        for name in ("torch", "transformer", "opennmt")
    }
    curves(right, LEAD, conventions, title="smoothing = 0.1, three conventions", xlabel=lead, ylabel="nats")
    return figure


def z_loss() -> Figure:
    figure, (axes,) = panels(1, width=4.4)
    shift = torch.linspace(-12, 8, 141).double()
    logits = _logits(torch.full_like(LEAD, 4.0)) + shift[:, None]
    plain = language.cross_entropy_from_logits(logits, TARGETS, reduction="none")
    both = {
        f"with z_coefficient {factor:g}": language.cross_entropy_from_logits(
            logits, TARGETS, z_coefficient=factor, reduction="none"
        )
        for factor in (1e-2, 1e-3)
    }
    curves(
        axes,
        shift,
        {"cross_entropy alone": plain, **both},
        title="only z_loss sees a shift of all logits",
        xlabel="number added to all logits",
        ylabel="nats",
    )
    return figure


def metrics() -> Figure:
    figure, (left, right) = panels(2, width=3.4)
    scores = language.token_scores_from_logits(_logits(LEAD), TARGETS, entropy=True)
    assert scores.log_prob is not None
    assert scores.entropy is not None
    lines = {"surprisal": -scores.log_prob, "entropy": scores.entropy}
    curves(
        left, LEAD, lines, title="what a model says of one token", xlabel="lead of the target's logit", ylabel="nats"
    )
    nats = -scores.log_prob[scores.log_prob > -4]
    lines = {"perplexity": nats.exp(), "bits per byte × 10, 4 bytes a token": 10 * nats / math.log(2) / 4}
    curves(right, nats, lines, title="the same number by other names", xlabel="mean surprisal, nats", ylabel="")
    return figure


FIGURES = {"language_smoothing": smoothing, "language_z_loss": z_loss, "language_metrics": metrics}
