"""Requests of rank 2 [n, d], 3 [batch, n, d] and 4 [batch, heads, n, d], computed in rank 4."""

from torch import Tensor

from attnloss.errors import FieldError


def lift(tensor: Tensor, rank: int) -> Tensor:
    """Give a tensor of a request of this rank the batch and heads axes that it lacks."""
    if rank == 2:
        return tensor[None, None]
    return tensor[:, None] if rank == 3 else tensor


def restore(tensor: Tensor, rank: int) -> Tensor:
    """Undo `lift`: drop the axes that a request of this rank does not have."""
    if rank == 2:
        return tensor[0, 0]
    return tensor[:, 0] if rank == 3 else tensor


def restore_unit(tensor: Tensor, rank: int) -> Tensor:
    """Undo `lift` for values per query [B, H, n], per head [B, H] or per batch entry [B], or for one number."""
    if tensor.ndim < 2:
        return tensor[0] if tensor.ndim == 1 and rank == 2 else tensor
    return restore(tensor, rank)


def lift_like(
    tensor: Tensor, field: str, rank: int, shape: tuple[int, ...], *, loose: tuple[int, ...] = (0, 1)
) -> Tensor:
    """Lift an argument laid out like the weights [B, H, n, m], or like a prefix of that shape.

    Accepts the plain `shape[2:]`, or the request's own rank with size 1 on the axes that `loose` numbers in
    rank 4. Raises FieldError with both shapes.
    """
    if tuple(tensor.shape) == shape[2:]:
        return tensor[None, None]
    if tensor.ndim == rank - 4 + len(shape):
        lifted = lift(tensor, rank)
        sizes = enumerate(zip(lifted.shape, shape, strict=True))
        if all(size == full or (size == 1 and axis in loose) for axis, (size, full) in sizes):
            return lifted
    own = {2: shape[2:], 3: (shape[0], *shape[2:]), 4: shape}[rank]
    raise FieldError(
        field,
        (),
        f"{field} must have shape {list(shape[2:])}, or {list(own)} with size 1 allowed in batch and heads; "
        f"got {list(tensor.shape)}",
    )


def index_in(shape: tuple[int, ...], place: list[int]) -> tuple[int, ...]:
    """Turn a place in rank 4 into an index of the caller's array, whose axes may be fewer or of size 1."""
    own = place[-len(shape) :] if len(shape) != len(place) - 1 else [place[0], *place[2:]]
    return tuple(0 if size == 1 else at for at, size in zip(own, shape, strict=True))
