"""One request: the tokens to score, taken out of whatever shape they came in."""

from dataclasses import dataclass
from typing import Literal, TypedDict, get_args

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from attnloss import reduce as reducing
from attnloss.errors import FieldError
from attnloss.language import checks, reference
from attnloss.language.logits import Given, Projection, Source
from attnloss.language.statistics import Statistics, Wanted, chunked

Backend = Literal["auto", "linear", "chunked", "reference"]


class LogitsOptions(TypedDict, total=False):
    """The target that is not scored, −100 by default, and the backend."""

    ignore_index: int
    backend: str


class TokenOptions(LogitsOptions, total=False):
    """The same, and the bias of the output matrix."""

    bias: Tensor | None


@dataclass(frozen=True, eq=False)
class Tokens:
    """The scored tokens of a request in one axis, and how to get back to its shape."""

    source: Source
    targets: Int[Tensor, " t"] | None
    shape: tuple[int, ...]
    scored: Bool[Tensor, "*batch"]
    backend: str
    ignore_index: int

    def compute(self, wanted: Wanted) -> Statistics:
        """Compute statistics by the backend; raises FieldError where one is NaN, or a log-probability −∞."""
        if self.backend == "linear":
            raise ValueError("backend linear cannot compute this: it gives a loss, and no statistics of the logits")
        by_reference = self.backend == "reference"
        statistics = reference.statistics(self.source, wanted) if by_reference else chunked(self.source, wanted)
        for values in (statistics.lse, statistics.total, statistics.entropy):
            if values is not None:
                self.require_finite(values)
        if place := checks.first_true(statistics.picked.isinf()):
            at = self.place(place[0][0])
            message = f"the loss is infinite: targets{list(at)} is a word whose logit is −∞, it must be finite"
            raise FieldError("targets", at, message)
        return statistics

    def require_finite(self, values: Tensor) -> None:
        """Raise FieldError for the first token whose value is not."""
        if place := checks.first_true(~values.isfinite()):
            raise checks.not_finite(self.source, self.place(place[0][0]) if place[0] else ())

    def place(self, token: int) -> tuple[int, ...]:
        """Say where a scored token stands in the request."""
        return tuple(int(at) for at in self.scored.nonzero()[token])

    def restore(self, values: Tensor, fill: int = 0) -> Tensor:
        """Put values of the scored tokens in their places, `fill` in those of the others."""
        if len(values) != self.scored.numel():
            everything = values.new_full((self.scored.numel(), *values.shape[1:]), fill)
            values = everything.index_put((self.scored.flatten().nonzero()[:, 0],), values)
        return values.view((*self.shape, *values.shape[1:]))

    def reduce(self, values: Tensor, reduction: str) -> Tensor:
        """Reduce values over the scored tokens; a mean over none is 0."""
        flat = self.restore(values).view(1, 1, -1)
        reduced = reducing.reduce(flat, self.scored.view(1, 1, -1), reduction)
        return reduced.view(self.shape) if reduction == "none" else reduced


def of_projection(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor | None,
    *,
    bias: Tensor | None = None,
    ignore_index: int = -100,
    backend: str = "auto",
) -> Tokens:
    """Check a request for hidden states, and take out what is scored."""
    checks.projection(hidden, weight, bias)
    scored, kept = _scored(hidden, "hidden", targets, weight.shape[0], ignore_index)
    source = Projection(_rows(hidden, scored), weight, bias)
    return Tokens(source, kept, tuple(hidden.shape[:-1]), scored, _known(backend), ignore_index)


def of_logits(logits: Tensor, targets: Tensor | None, *, ignore_index: int = -100, backend: str = "auto") -> Tokens:
    """Check a request for given logits, and take out what is scored."""
    checks.floating("logits", logits)
    scored, kept = _scored(logits, "logits", targets, logits.shape[-1], ignore_index)
    return Tokens(Given(_rows(logits, scored)), kept, tuple(logits.shape[:-1]), scored, _known(backend), ignore_index)


def _known(backend: str) -> str:
    if backend not in get_args(Backend):
        raise ValueError(f"backend must be one of {', '.join(get_args(Backend))}; got {backend!r}")
    return backend


def _scored(
    first: Tensor, field: str, targets: Tensor | None, vocabulary: int, ignore_index: int
) -> tuple[Tensor, Tensor | None]:
    if targets is None:
        return torch.ones(first.shape[:-1], dtype=torch.bool, device=first.device), None
    checked = checks.targets(targets, first, field, vocabulary, ignore_index)
    scored = checked != ignore_index
    return scored, checked[scored]


def _rows(tensor: Tensor, scored: Tensor) -> Tensor:
    flat = tensor.reshape(-1, tensor.shape[-1])
    return flat if bool(scored.all()) else flat.index_select(0, scored.flatten().nonzero()[:, 0])
