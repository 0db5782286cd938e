"""What the public function of every loss does around its own part."""

from collections.abc import Callable, Mapping
from functools import update_wrapper
from typing import Any, Generic, ParamSpec, Unpack, cast

from torch import Tensor

from attnloss import ranks
from attnloss.errors import FieldError
from attnloss.given import make_given
from attnloss.loss import Loss, evaluate_losses
from attnloss.losses.targets import first
from attnloss.options import AttendOptions, LossOptions, ScoreOptions
from attnloss.registry import check_parameters
from attnloss.score_map import ScoreMap
from attnloss.scores import make_other, make_scores

P = ParamSpec("P")

Build = Callable[..., Loss]

_OPTIONS = tuple(LossOptions.__annotations__)


class LossFunction(Generic[P]):
    """A loss over query and key, with `from_weights` for whoever has the map already."""

    def __init__(self, function: Callable[P, Tensor], build: Build) -> None:
        self._function = function
        self._build = build
        self.__name__ = function.__name__
        update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Tensor:
        """Compute the loss; see the function's own documentation."""
        return self._function(*args, **kwargs)

    def from_weights(
        self,
        weights: Tensor,
        other: Tensor | None = None,
        *,
        reduction: str = "mean",
        backend: str = "auto",
        causal: bool = False,
        mask: Tensor | None = None,
        key_lengths: Tensor | list[int] | int | None = None,
        query_lengths: Tensor | list[int] | int | None = None,
        **parameters: Any,
    ) -> Tensor:
        """Compute the loss over weights [n, m], [batch, n, m] or [batch, heads, n, m] that softmax gave.

        Rows are ≥ 0 and sum to 1 ± 1e-3, or are all 0 where the query may attend to nothing; which keys are
        allowed is what mask, causal and lengths say. `other` are the weights of the second map where the loss
        takes one, `parameters` the loss's own. Gradients hold each row's sum at 1, which changes nothing once
        they go back through a softmax. Raises FieldError (a ValueError) that names the argument.
        """
        options: AttendOptions = {
            "causal": causal,
            "mask": mask,
            "key_lengths": key_lengths,
            "query_lengths": query_lengths,
        }
        check_parameters(self.__name__, [*parameters, *(() if other is None else ("other",))])
        scores = make_given(weights, **options)
        if other is not None:
            if other.shape != weights.shape:
                expected = f"other must have the shape of weights, {list(weights.shape)}"
                raise FieldError("other", (), f"{expected}, got {list(other.shape)}")
            parameters["other"] = second = make_given(other.to(weights.dtype), field="other", **options)
            if place := first(scores.valid & ~second.valid):
                at = ranks.index_in(tuple(weights.shape[:-1]), place)
                raise FieldError("other", at, f"other{list(at)} is all 0, where weights{list(at)} is not")
        return _reduced(scores, self._build(scores, **parameters), {"reduction": reduction, "backend": backend})


def loss_function(build: Build) -> Callable[[Callable[P, Tensor]], LossFunction[P]]:
    """Decorate the public function of a loss that `build` makes."""
    return lambda function: LossFunction(function, build)


def compute(
    query: Tensor, key: Tensor, build: Build, parameters: Mapping[str, object], **options: Unpack[LossOptions]
) -> Tensor:
    """Evaluate one loss and reduce it; with reduction "none" in the rank of the request."""
    scores = make_scores(query, key, **_score_options(options))
    return _reduced(scores, build(scores, **parameters), options)


def compute_pair(
    maps: tuple[Tensor, Tensor, Tensor, Tensor],
    other_scale: float | None,
    build: Build,
    parameters: Mapping[str, object],
    **options: Unpack[LossOptions],
) -> Tensor:
    """Evaluate a loss between two maps, of query, key, other_query and other_key, and reduce it."""
    query, key, other_query, other_key = maps
    scores = make_scores(query, key, **_score_options(options))
    other = make_other(scores, other_query, other_key, other_scale)
    return _reduced(scores, build(scores, other=other, **parameters), options)


def _score_options(options: LossOptions) -> ScoreOptions:
    """Options but for those of the loss; unknown ones are refused by whoever takes them."""
    for name in options:
        if name not in _OPTIONS:
            raise TypeError(f"options are {', '.join(_OPTIONS)}; got {name!r}")
    return cast(
        "ScoreOptions", {name: value for name, value in options.items() if name not in ("reduction", "backend")}
    )


def _reduced(scores: ScoreMap, loss: Loss, options: LossOptions) -> Tensor:
    reduction = options.get("reduction", "mean")
    values, _ = evaluate_losses(scores, {"loss": loss}, backend=options.get("backend", "auto"))
    counts = scores.counts.expand(scores.shape[:3])
    reduced = loss.reduce(values["loss"], counts, scores.shape[3], reduction)
    return ranks.restore_unit(reduced, scores.rank) if reduction == "none" else reduced
