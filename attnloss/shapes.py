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


def check_other(shapes: Shapes, query: Sequence[int], key: Sequence[int]) -> None:
    """Check that a second map has the first one's batch, heads, n and m; its head dim and key heads are its own.

    Raises:
        FieldError: `other_query` or `other_key` does not fit; both shapes stated.

    """
    for field, shape, tail in (("other_query", query, shapes.n), ("other_key", key, shapes.m)):
        expected = f"{_show(shapes.restored(tail))} and a head dim"
        if len(shape) != shapes.rank or 0 in shape:
            raise FieldError(field, (), f"expected {expected}, came shape {_show(shape)}")
    if tuple(query[:-1]) != shapes.restored(shapes.n):
        expected = f"{_show(shapes.restored(shapes.n))} and a head dim"
        raise FieldError("other_query", (), f"expected {expected}, came shape {_show(query)}")
    heads = key[1] if shapes.rank == 4 else 1
    lead = (shapes.batch, heads)[: shapes.rank - 2]
    if tuple(key[:-1]) != (*lead, shapes.m) or shapes.heads % heads:
        expected = f"batch {shapes.batch}, heads that divide {shapes.heads}, {shapes.m} keys"
        raise FieldError("other_key", (), f"expected {expected}, came shape {_show(key)}")
    if query[-1] != key[-1]:
        raise FieldError("other_key", (), f"head dim {key[-1]} of shape {_show(key)} is not {query[-1]}, other_query's")


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


def resolve_target_kind(
    target: Sequence[int], integer: bool, kind: str | None, shapes: Shapes, *, weighted: bool = False
) -> str:
    """Whether a target is an "index" of one key per query, "dense" over the keys, or "sparse": some keys of each.

    A sparse target comes with weights (`weighted`), the others without. Of those `kind` decides where it is
    given; else integers that fit only one of the two are that; floats are dense.

    Raises:
        FieldError: the target fits neither, not the `kind` asked for, or both.

    """
    came = f"came {'integers' if integer else 'floats'} of shape {_show(target)}"
    if weighted or kind == "sparse":
        return _sparse(target, integer, kind, shapes, weighted, came)
    fits = {"index": integer and index_fits(target, shapes), "dense": mask_fits(target, shapes)}
    expected = {
        "index": f"integers of shape [{shapes.n}] or {_show(shapes.restored(shapes.n))}",
        "dense": f"rows of shape [{shapes.n}, {shapes.m}] or {_show(shapes.restored(shapes.n, shapes.m))}",
    }
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


def _sparse(target: Sequence[int], integer: bool, kind: str | None, shapes: Shapes, weighted: bool, came: str) -> str:
    if not weighted:
        raise FieldError("target_weights", (), "kind sparse needs target_weights, the share of each key; came none")
    if kind not in (None, "sparse"):
        raise FieldError("kind", (), f"target_weights belong to a sparse target, came kind {kind}")
    if not (integer and len(target) >= 2 and target[-1] > 0 and _fits(target, (shapes.n, target[-1]), shapes)):
        expected = f"integers of shape [{shapes.n}, k] or {_show(shapes.restored(shapes.n))} and k"
        raise FieldError("target", (), f"a sparse target expects {expected}, {came}")
    return "sparse"
