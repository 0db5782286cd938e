"""The scaled score map of a request, described without being computed."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypedDict

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from typing_extensions import override

from attnloss import checks, ranks
from attnloss.errors import FieldError
from attnloss.score_map import ScoreMap
from attnloss.shapes import Shapes, check_other
from attnloss.tiles import Operand


class Attendance(TypedDict):
    """The fields of a ScoreMap that say what each query may attend to."""

    causal: bool
    mask: Tensor | None
    query_lengths: Tensor | None
    key_lengths: Tensor | None


@dataclass(frozen=True, eq=False)
class Scores(ScoreMap):
    """s_ij = scale·q_i·k_j; `key_axes` is "head_key" where a second map has other key heads than the first."""

    query: Float[Tensor, "B H n d"]
    key: Float[Tensor, "B Hkv m d"]
    scale: float
    key_axes: Literal["key", "head_key"] = "key"

    @property
    @override
    def shape(self) -> tuple[int, int, int, int]:
        batch, heads, n, _ = self.query.shape
        return batch, heads, n, self.key.shape[2]

    @property
    @override
    def key_heads(self) -> int:
        return self.key.shape[1]

    @property
    @override
    def operands(self) -> tuple[Operand, ...]:
        return Operand(self.query, "query"), Operand(self.key, self.key_axes)

    @cached_property
    @override
    def bound(self) -> float:
        """|scale|·max‖q‖·max‖k‖."""
        with torch.no_grad():
            longest_query = torch.linalg.vector_norm(self.query, dim=-1).max()
            longest_key = torch.linalg.vector_norm(self.key, dim=-1).max()
            return abs(self.scale) * float(longest_query * longest_key)

    @override
    def cells(self, cuts: Sequence[Tensor], out: Tensor | None) -> Tensor:
        return grouped_matmul(cuts[0] * self.scale, cuts[1].mT, out)


def grouped_matmul(
    left: Float[Tensor, "b h r x"], right: Float[Tensor, "b hkv x y"], out: Tensor | None = None
) -> Float[Tensor, "b h r y"]:
    """Multiply where each key head serves heads // key heads query heads, without repeating it."""
    batch, heads, rows, inner = left.shape
    key_heads = right.shape[1]
    if heads == key_heads:
        return torch.matmul(left, right, out=out)
    folded = (batch, key_heads, heads // key_heads * rows)
    product = torch.matmul(left.reshape(*folded, inner), right, out=None if out is None else out.view(*folded, -1))
    return product.view(batch, heads, rows, right.shape[3])


def per_query_head(tensor: Float[Tensor, "B Hkv m f"], heads: int) -> Float[Tensor, "B H m f"]:
    """Repeat what belongs to a key head for each query head that shares it."""
    group = heads // tensor.shape[1]
    return tensor if group == 1 else tensor.repeat_interleave(group, 1)


def make_scores(
    query: Float[Tensor, "*batch n d"],
    key: Float[Tensor, "*key_batch m d"],
    *,
    causal: bool = False,
    mask: Bool[Tensor, "..."] | None = None,
    key_lengths: Tensor | Sequence[int] | int | None = None,
    query_lengths: Tensor | Sequence[int] | int | None = None,
    scale: float | None = None,
) -> Scores:
    """Validate a request of rank 2 [n, d], 3 [batch, n, d] or 4 [batch, heads, n, d] and describe its scores.

    Key heads may divide query heads. float16 and bfloat16 are computed in float32. Scores beyond the range
    of that type are not an error: they leave inf or NaN in what is computed from them.

    Raises FieldError (a ValueError) that names the argument and states what was expected and what came.
    """
    checks.inputs(query, key)
    rank = query.ndim
    compute = torch.float64 if query.dtype == torch.float64 else torch.float32
    lifted_query, lifted_key = ranks.lift(query, rank), ranks.lift(key, rank)
    batch, heads, n, width = lifted_query.shape
    m = lifted_key.shape[2]
    return Scores(
        query=lifted_query.to(compute),
        key=lifted_key.to(compute),
        scale=width**-0.5 if scale is None else checks.finite(scale),
        rank=rank,
        input_dtype=query.dtype,
        **attendance(
            (batch, heads, n, m), rank, query.device, causal, mask, key_lengths=key_lengths, query_lengths=query_lengths
        ),
    )


def attendance(
    shape: tuple[int, int, int, int],
    rank: int,
    device: torch.device,
    causal: bool,
    mask: Tensor | None,
    *,
    key_lengths: Tensor | Sequence[int] | int | None,
    query_lengths: Tensor | Sequence[int] | int | None,
) -> Attendance:
    """Validate what each query of a map of this shape may attend to."""
    batch, _, n, m = shape
    if mask is not None:
        checks.boolean(mask)
        mask = ranks.lift_like(mask, "mask", rank, shape, loose=(0, 1, 2, 3))
        mask = mask.to(device).expand(-1, -1, n, m)
    return {
        "causal": causal,
        "mask": mask,
        "query_lengths": checks.lengths("query_lengths", query_lengths, batch, n, device),
        "key_lengths": checks.lengths("key_lengths", key_lengths, batch, m, device),
    }


def make_other(
    scores: ScoreMap,
    query: Float[Tensor, "*batch n d2"],
    key: Float[Tensor, "*key_batch m d2"],
    scale: float | None = None,
) -> Scores:
    """Describe the scores of a second map, which shares the first one's shape, mask, causal and lengths.

    Its head dim and key heads are its own. Raises FieldError that names other_query or other_key.
    """
    for field, tensor in (("other_query", query), ("other_key", key)):
        if not tensor.is_floating_point():
            raise FieldError(field, (), f"{field} must be floating point, got {tensor.dtype}")
        if tensor.device != scores.device:
            raise FieldError(field, (), f"{field} must be on {scores.device}, got {tensor.device}")
    batch, heads, n, m = scores.shape
    shapes = Shapes(scores.rank, batch, heads, scores.key_heads, n, m, 1, None)
    check_other(shapes, tuple(query.shape), tuple(key.shape))
    shared = {name: getattr(scores, name) for name in ("causal", "mask", "query_lengths", "key_lengths")}
    lifted = ranks.lift(key, scores.rank).to(scores.dtype)
    alike = lifted.shape[1] == scores.key_heads
    return Scores(
        query=ranks.lift(query, scores.rank).to(scores.dtype),
        key=lifted if alike else per_query_head(lifted, heads),
        key_axes="key" if alike else "head_key",
        scale=query.shape[-1] ** -0.5 if scale is None else checks.finite(scale),
        rank=scores.rank,
        input_dtype=scores.input_dtype,
        **shared,
    )
