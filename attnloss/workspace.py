"""Memory that one tile leaves to the next, and one pass to the next of its thread."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

MOST_KEPT_BYTES = 1 << 22
"""Larger buffers are given back after a pass; a tile in float64 is just kept."""

_idle = threading.local()


class Workspace:
    """Buffers by name.

    An allocator may return each tile's megabytes to the system and fault them in again, which was measured
    to make a pass up to twice as slow, from one run to the next. Where autograd records there is nothing to
    reuse, since it keeps what it was given.
    """

    def __init__(self) -> None:
        self._buffers: dict[tuple[object, ...], Tensor] = {}

    def take(self, name: str, shape: tuple[int, ...], like: Tensor) -> Tensor | None:
        """Give the buffer of that name in the dtype and on the device of `like`, or None under autograd."""
        if torch.is_grad_enabled():
            return None
        key = (name, like.dtype, like.device, torch.is_inference_mode_enabled())
        size = torch.Size(shape).numel()
        buffer = self._buffers.get(key)
        if buffer is None or buffer.numel() < size:
            buffer = self._buffers[key] = like.new_empty(size)
        return buffer[:size].view(shape)

    def trim(self) -> None:
        """Give back what is too large to keep."""
        kept = {key: buffer for key, buffer in self._buffers.items() if buffer.nbytes <= MOST_KEPT_BYTES}
        self._buffers = kept


@contextmanager
def borrowed() -> Iterator[Workspace]:
    """Lend the thread's workspace; whoever asks while it is lent gets a fresh one."""
    workspace: Workspace = _idle.__dict__.pop("workspace", None) or Workspace()
    try:
        yield workspace
    finally:
        workspace.trim()
        _idle.workspace = workspace
