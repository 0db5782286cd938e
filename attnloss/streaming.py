"""One evaluation of all that a request wants of a score map, by the backend asked for or fitting."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Unpack, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from attnloss import checks, chunked, flash, ranks, reference, tiling
from attnloss.functional import Functional
from attnloss.options import ScoreOptions
from attnloss.scores import Scores, make_scores
from attnloss.statistics import Expectation, Lse

Backend = Literal["auto", "flash", "chunked", "reference"]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What was wanted, unreduced and in rank 4, and the backend that computed it."""

    values: dict[str, Tensor]
    backend: str


def evaluate(scores: Scores, wanted: Mapping[str, Functional], *, backend: str = "auto") -> Evaluation:
    """Compute every wanted functional in one pass over the scores, none holding a map that was not asked for.

    Values per query come as [B, H, n] in the dtype of the scores. "flash" is torch's CPU kernel, "chunked"
    computes tile by tile on any device, "reference" is dense float64. "auto" picks flash where it is exact
    and was measured to be faster: for the output alone, and with gradients beyond one tile for up to two
    passes.

    Raises ValueError where the backend is unknown or cannot do what is asked, saying why.
    """
    if backend not in get_args(Backend):
        raise ValueError(f"backend must be one of {', '.join(get_args(Backend))}; got {backend!r}")
    if backend == "auto":
        backend = "flash" if _flash_pays(scores, wanted) else "chunked"
    elif backend == "flash" and (reason := _flash_refusal(scores, wanted)):
        raise ValueError(f"backend flash cannot compute this: {reason}")
    if backend == "flash":
        values = _by_flash(scores, wanted)
    elif backend == "chunked":
        values = chunked.stream(scores, wanted) if wanted else {}
    else:
        values = _by_reference(scores, wanted)
    return Evaluation(values, backend)


def _flash_pays(scores: Scores, wanted: Mapping[str, Functional]) -> bool:
    batch, heads, n, m = scores.shape
    passes = sum(functional.flash == "features" for functional in wanted.values())
    cancels = any(functional.cancels for functional in wanted.values())
    if _wants_gradient(scores) and batch * heads * n * m > tiling.TILE_SCORES:
        pays = passes <= 2
    else:
        pays = passes == 1 and not cancels
    return pays and _flash_refusal(scores, wanted) is None


def _wants_gradient(scores: Scores) -> bool:
    return torch.is_grad_enabled() and (scores.query.requires_grad or scores.key.requires_grad)


def _flash_refusal(scores: Scores, wanted: Mapping[str, Functional]) -> str | None:
    width = scores.key.shape[-1]
    for name, functional in wanted.items():
        if functional.flash is None:
            return f"{name} has no flash form"
        if any(operand.axes == "key" and operand.tensor.shape[-1] > width for operand in functional.operands):
            return f"{name} has features wider than the head dim of key, {width}"
    if reason := flash.refusal(scores):
        return reason
    if any(functional.cancels for functional in wanted.values()):
        bound = flash.score_bound(scores)
        if not bound <= flash.IDENTITY_BOUND:
            return f"scores up to {bound:.3g} would lose digits, it is exact to {flash.IDENTITY_BOUND:g}"
    return None


def _by_flash(scores: Scores, wanted: Mapping[str, Functional]) -> dict[str, Tensor]:
    shared = flash.FlashPass(scores)
    order = sorted(wanted, key=lambda name: wanted[name].flash == "lse")
    values = {
        name: wanted[name].from_flash(shared, *(operand.tensor for operand in wanted[name].operands)) for name in order
    }
    return {name: values[name] for name in wanted}


def _by_reference(scores: Scores, wanted: Mapping[str, Functional]) -> dict[str, Tensor]:
    dense = reference.dense(scores)
    values = {}
    for name, functional in wanted.items():
        operands = [reference.widened(operand.tensor) for operand in functional.operands]
        value = functional.reference(dense, *operands)
        values[name] = value.to(scores.dtype) if value.is_floating_point() else value
    return values


def expect(
    query: Float[Tensor, "*batch n d"],
    key: Float[Tensor, "*key_batch m d"],
    features: Float[Tensor, "*key_batch m f"],
    *,
    backend: str = "auto",
    **options: Unpack[ScoreOptions],
) -> Float[Tensor, "*batch n f"]:
    """Compute Σ_j p_ij·x_j for any features x of the keys, differentiable in all three, never holding a map.

    Takes the options of `attention`; with the values as features it is the output of attention. A fully
    masked query gets 0. Raises FieldError as `attention` does.
    """
    scores = make_scores(query, key, **options)
    checks.like_key("features", features, key)
    lifted = ranks.lift(features, scores.rank).to(scores.dtype)
    result = evaluate(scores, {"output": Expectation(lifted)}, backend=backend)
    return ranks.restore(result.values["output"], scores.rank).to(scores.input_dtype)


def lse(
    query: Float[Tensor, "*batch n d"],
    key: Float[Tensor, "*key_batch m d"],
    *,
    backend: str = "auto",
    **options: Unpack[ScoreOptions],
) -> Float[Tensor, "*batch n"]:
    """Compute log Σ_j exp(s_ij) per query, differentiable, never holding a map.

    The result is float32, or float64 for float64 inputs, and −∞ for a fully masked query. Takes the options
    of `attention` and raises FieldError as it does.
    """
    scores = make_scores(query, key, **options)
    result = evaluate(scores, {"lse": Lse()}, backend=backend)
    return ranks.restore(result.values["lse"], scores.rank)
