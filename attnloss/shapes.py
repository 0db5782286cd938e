"""The shapes of one attention problem, checked without torch, so that any process can refuse them."""

from collections.abc import Sequence
from dataclasses import dataclass

from attnloss.errors import FieldError


@dataclass(frozen=True)
class Shapes:
    """Sizes of a problem: `rank` 2 [n, d], 3 [batch, n, d] or 4 [batch, heads, n, d], as the inputs came."""

    rank: int
    batch: int
    heads: int
    key_heads: int
    n: int
    m: int
    d: int
    value_d: int | None

    @property
    def cost(self) -> int:
        """Score elements: batch · heads · n · m."""
        return self.batch * self.heads * self.n * self.m

    def restored(self, *tail: int) -> tuple[int, ...]:
        """Shape of an answer: the leading dimensions in the rank of the inputs, then `tail`."""
        return ((), (self.batch,), (self.batch, self.heads))[self.rank - 2] + tail


def resolve_shapes(query: Sequence[int], key: Sequence[int], value: Sequence[int] | None = None) -> Shapes:
    """Sizes of a problem from the shapes of its tensors.

    Raises:
        FieldError: a rank other than 2, 3 or 4, an empty dimension, or shapes that disagree; both stated.

    """
    for field, shape in (("query", query), ("key", key), ("value", value)):
        if shape is not None:
            _check_rank(field, shape, query)
    heads, key_heads = (query[1], key[1]) if len(query) == 4 else (1, 1)
    if len(query) > 2 and query[0] != key[0]:
        raise FieldError("key", (), f"batch {key[0]} of shape {_show(key)} is not the query's, {_show(query)}")
    if heads % key_heads:
        raise FieldError("key", (), f"{key_heads} heads of shape {_show(key)} do not divide the query's {heads}")
    if query[-1] != key[-1]:
        raise FieldError("key", (), f"head dim {key[-1]} of shape {_show(key)} is not the query's, {_show(query)}")
    if value is not None and tuple(value[:-1]) != tuple(key[:-1]):
        raise FieldError("value", (), f"shape {_show(value)} differs from the key's {_show(key)} before the last dim")
    return Shapes(
        rank=len(query),
        batch=query[0] if len(query) > 2 else 1,
        heads=heads,
        key_heads=key_heads,
        n=query[-2],
        m=key[-2],
        d=query[-1],
        value_d=None if value is None else value[-1],
    )


def mask_fits(mask: Sequence[int], shapes: Shapes) -> bool:
    """Whether a mask, probability or dense target is [n, m] or broadcasts to the shape of the weights."""
    return _fits(mask, (shapes.n, shapes.m), shapes)


def index_fits(target: Sequence[int], shapes: Shapes) -> bool:
    """Whether an index target is [n] or broadcasts to the shape of the weights without m."""
    return _fits(target, (shapes.n,), shapes)


def _fits(shape: Sequence[int], tail: tuple[int, ...], shapes: Shapes) -> bool:
    if tuple(shape) == tail:
        return True
    full = shapes.restored(*tail)
    lead = len(full) - len(tail)
    return (
        len(shape) == len(full)
        and tuple(shape[lead:]) == tail
        and all(came in (1, size) for came, size in zip(shape[:lead], full[:lead], strict=True))
    )


def _check_rank(field: str, shape: Sequence[int], query: Sequence[int]) -> None:
    if len(shape) not in (2, 3, 4):
        raise FieldError(field, (), f"expected rank 2, 3 or 4, came shape {_show(shape)}")
    if len(shape) != len(query):
        raise FieldError(field, (), f"rank {len(shape)} of shape {_show(shape)} is not the query's, {_show(query)}")
    if 0 in shape:
        raise FieldError(field, (), f"expected no empty dimension, came shape {_show(shape)}")


def _show(shape: Sequence[int]) -> str:
    return "[" + ", ".join(map(str, shape)) + "]"


def resolve_target_kind(target: Sequence[int], integer: bool, kind: str | None, shapes: Shapes) -> str:
    """Whether a target is an "index" of one key per query or a "dense" distribution over the keys.

    `kind` decides where it is given; else integers that fit only one of the two are that; floats are dense.

    Raises:
        FieldError: the target fits neither, not the `kind` asked for, or both.

    """
    fits = {"index": integer and index_fits(target, shapes), "dense": mask_fits(target, shapes)}
    expected = {
        "index": f"integers of shape [{shapes.n}] or {_show(shapes.restored(shapes.n))}",
        "dense": f"rows of shape [{shapes.n}, {shapes.m}] or {_show(shapes.restored(shapes.n, shapes.m))}",
    }
    came = f"came {'integers' if integer else 'floats'} of shape {_show(target)}"
    if kind is not None:
        if not fits[kind]:
            raise FieldError("target", (), f"kind {kind} expects {expected[kind]}, {came}")
        return kind
    if all(fits.values()):
        raise FieldError("target", (), f"{came} is ambiguous; give kind: index or dense")
    for candidate in ("index", "dense"):
        if fits[candidate]:
            return candidate
    raise FieldError("target", (), f"expected {expected['index']}, or {expected['dense']}, {came}")
