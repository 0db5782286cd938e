"""One evaluation of all that a request wants of a score map, by the backend asked for or fitting."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Unpack, cast, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from attnloss import checks, chunked, flash, ranks, reference, tiling
from attnloss.flash import FlashPass
from attnloss.functional import Functional
from attnloss.fused import FusedPass
from attnloss.native import NativePass
from attnloss.options import ScoreOptions
from attnloss.score_map import ScoreMap
from attnloss.scores import Scores, make_scores
from attnloss.statistics import Expectation, Lse, Weights

LSE_BOUND = 1e4
"""Largest |score| up to which exp(s − L) may be taken of an lse that was rounded: beyond, L has lost its fraction."""

Backend = Literal["auto", "native", "flash", "chunked", "reference"]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What was wanted, unreduced and in rank 4, and the backend that computed it."""

    values: dict[Any, Tensor]
    backend: str


def evaluate(scores: ScoreMap, wanted: Mapping[Any, Functional], *, backend: str = "auto") -> Evaluation:
    """Compute every wanted functional in a pass over the scores or two, none holding a map that was not asked for.

    Values per query come as [B, H, n] in the dtype of the scores. "native" is this project's C++ kernel,
    "flash" torch's CPU kernel, "chunked" computes tile by tile on any device, "reference" is dense float64.
    "auto" takes native, if it was built, for all that it can do, and chunked for the rest, which it names
    "native+chunked", or chunked for both where that was measured to be faster; without native, flash where it is
    exact and was measured to be faster (for the output alone, and beyond one tile for up to two passes), else
    chunked. It computes without any pass what needs none, and names that "gram".

    Raises ValueError where the backend is unknown or cannot do what is asked, saying why.
    """
    if backend not in get_args(Backend):
        raise ValueError(f"backend must be one of {', '.join(get_args(Backend))}; got {backend!r}")
    distinct = list(dict.fromkeys(wanted.values()))
    found = _by_shortcut(scores, distinct) if backend == "auto" else {}
    left = [functional for functional in distinct if functional not in found]
    names = []
    if backend in ("native", "flash") and (reason := _refusal(backend, scores, wanted)):
        raise ValueError(f"backend {backend} cannot compute this: {reason}")
    for name, part in _shared_out(scores, left) if backend == "auto" else [(backend, left)]:
        found |= _COMPUTE[name](scores, part)
        names.append(name)
    names += ["gram"] if len(left) < len(distinct) else []
    return Evaluation({name: found[functional] for name, functional in wanted.items()}, "+".join(names or ["chunked"]))


def _shared_out(scores: ScoreMap, functionals: Sequence[Functional]) -> list[tuple[str, list[Functional]]]:
    """Say which backends compute which functionals; top goes with weights, to be of the same digits."""
    whole_map = any(isinstance(functional, Weights) for functional in functionals)
    native = [
        functional
        for functional in functionals
        if _refusal("native", scores, {"": functional}) is None and not (whole_map and functional.top_count)
    ]
    rest = [functional for functional in functionals if functional not in native]
    if rest and not _two_passes_pay(scores, native):
        native, rest = [], list(functionals)
    numbered = dict(enumerate(rest))
    other = "flash" if _flash_pays(scores, rest) and _refusal("flash", scores, numbered) is None else "chunked"
    return [(name, part) for name, part in (("native", native), (other, rest)) if part]


def _two_passes_pay(scores: ScoreMap, native: Sequence[Functional]) -> bool:
    """Whether these are faster by the native pass, though chunks compute the scores for others anyway.

    Measured for n from 10 to 2048: 0.6 to 0.8× the time for what takes chunks several steps per score, 0.7 to
    1.0× for the gradient of an expectation; 1.0 to 1.3× for the rest, and for all within one tile.
    """
    batch, heads, n, m = scores.shape
    wins = {"top", "two_maps", "overlaps"} | ({"expect"} if scores.wants_gradient else set())
    read = {name for functional in native for name in functional.needs or ()}
    return batch * heads * n * m > tiling.TILE_SCORES and bool(read & wins)


def _flash_pays(scores: ScoreMap, functionals: Sequence[Functional]) -> bool:
    batch, heads, n, m = scores.shape
    passes = sum(not functional.needs <= {"lse"} for functional in functionals if functional.needs is not None)
    if batch * heads * n * m > tiling.TILE_SCORES:
        return passes <= 2
    return passes == 1 and not any(functional.cancels for functional in functionals)


def _refusal(backend: str, scores: ScoreMap, wanted: Mapping[Any, Functional]) -> str | None:
    """Why a fused backend cannot compute this, or None if it can."""
    if not isinstance(scores, Scores):
        return "it computes weights, and these are given"
    fused: type[FusedPass] = NativePass if backend == "native" else FlashPass
    for name, functional in wanted.items():
        if functional.needs is None or not functional.needs <= fused.provides:
            return f"{name if isinstance(name, str) else type(functional).__name__} has no {backend} form"
        if functional.top_count > fused.most_keys:
            return f"it ranks up to {fused.most_keys} keys of each query, {name} asks for {functional.top_count}"
        features = functional.features(scores) if backend == "flash" else None
        if features is not None and features.shape[-1] > scores.key.shape[-1]:
            return f"{name} has features wider than the head dim of key, {scores.key.shape[-1]}"
    if reason := fused.refusal(scores):
        return reason
    for functional in wanted.values():
        most = _most_exact(backend, scores, functional)
        if most < math.inf and not (bound := functional.score_bound(scores)) <= most:
            return f"scores up to {bound:.3g} would lose digits, it is exact to {most:g}"
    return None


def _most_exact(backend: str, scores: ScoreMap, functional: Functional) -> float:
    """Largest |score| up to which a fused backend computes a functional to the digits that the scores have."""
    if functional.cancels and (backend == "flash" or functional.needs == _LSE):
        return flash.IDENTITY_BOUND
    if backend == "flash":
        return math.inf
    one_pass = functional.needs is not None and functional.needs <= {"expect", "entropy", "largest", "top"}
    # chunks leave NaN of scores that overflow, for all to see
    return torch.finfo(scores.dtype).max / 2 if one_pass and not scores.wants_gradient else LSE_BOUND


def _by_shortcut(scores: ScoreMap, functionals: Sequence[Functional]) -> dict[Functional, Tensor]:
    found = {}
    for functional in functionals:
        value = functional.shortcut(scores, *_tensors(functional))
        if value is not None:
            found[functional] = value
    return found


def _tensors(functional: Functional) -> list[Tensor]:
    return [operand.tensor for operand in functional.operands]


def _by_flash(scores: ScoreMap, functionals: Sequence[Functional]) -> dict[Functional, Tensor]:
    order = sorted(functionals, key=lambda functional: functional.needs == _LSE)
    return _by_kernel(FlashPass, scores, order)


def _by_native(scores: ScoreMap, functionals: Sequence[Functional]) -> dict[Functional, Tensor]:
    return _by_kernel(NativePass, scores, functionals)


def _by_kernel(
    kernel: type[FusedPass], scores: ScoreMap, functionals: Sequence[Functional]
) -> dict[Functional, Tensor]:
    features = {functional: functional.features(scores) for functional in functionals}
    given: dict[object, Tensor] = {owner: part for owner, part in features.items() if part is not None}
    most_keys = max((functional.top_count for functional in functionals), default=0)
    shared = kernel(cast("Scores", scores), given, most_keys)
    return {functional: functional.from_fused(shared, *_tensors(functional)) for functional in functionals}


def _by_chunks(scores: ScoreMap, functionals: Sequence[Functional]) -> dict[Functional, Tensor]:
    numbered = {str(number): functional for number, functional in enumerate(functionals)}
    return dict(zip(functionals, chunked.stream(scores, numbered).values(), strict=True)) if functionals else {}


def _by_reference(scores: ScoreMap, functionals: Sequence[Functional]) -> dict[Functional, Tensor]:
    dense = reference.dense(scores)
    values = {}
    for functional in functionals:
        value = functional.reference(dense, *map(reference.widened, _tensors(functional)))
        values[functional] = value.to(scores.dtype) if value.is_floating_point() else value
    return values


_LSE = frozenset({"lse"})

_COMPUTE: Mapping[str, Callable[[ScoreMap, Sequence[Functional]], dict[Functional, Tensor]]] = {
    "native": _by_native,
    "flash": _by_flash,
    "chunked": _by_chunks,
    "reference": _by_reference,
}


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
