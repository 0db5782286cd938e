"""The compiled library: found, checked, and called with the fields of its C structs (problem.hpp)."""

import ctypes
import os
from ctypes import c_double, c_int, c_int64, c_void_p
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from attnloss.kernels import sources
from attnloss.scores import Scores

FORCED = "ATTNLOSS_KERNEL_ISA"
"""Environment variable that names the instruction set to use instead of the best."""

KEYS_PER_TILE = 384
"""KEYS of problem.hpp: into so many keys at most the backward pass cuts its work."""


class Unavailable(Exception):
    """Why the library cannot be used."""


class Problem(ctypes.Structure):
    """Shape of the weights, what is allowed, and how the work is shared."""

    _fields_ = (
        *((name, c_int64) for name in ("batch", "heads", "n", "m", "causal")),
        ("mask", c_void_p),
        ("mask_strides", c_int64 * 4),
        ("query_lengths", c_void_p),
        ("key_lengths", c_void_p),
        ("threads", c_int64),
        ("chunks", c_int64),
        ("fork_join", c_void_p),
    )


class Map(ctypes.Structure):
    """Query and key of one score map, its lse if known, and where their gradients go."""

    _fields_ = (
        ("query", c_void_p),
        ("key", c_void_p),
        ("query_strides", c_int64 * 3),
        ("key_strides", c_int64 * 3),
        ("key_heads", c_int64),
        ("width", c_int64),
        ("scale", c_double),
        ("lse", c_void_p),
        ("grad_query", c_void_p),
        ("grad_key", c_void_p),
    )


class Features(ctypes.Structure):
    """Features of the keys, and where their gradient goes."""

    _fields_ = (
        ("data", c_void_p),
        ("strides", c_int64 * 3),
        ("width", c_int64),
        ("grad", c_void_p),
    )


class Library:
    """The functions of one instruction set."""

    def __init__(self, path: Path, forced: str | None) -> None:
        """Load and check it. Raises Unavailable."""
        if not path.exists():
            raise Unavailable(f"the kernels are not built: {sources.BUILD_COMMAND}")
        try:
            self._functions = ctypes.CDLL(str(path))
        except OSError as error:
            raise Unavailable(f"{path.name} cannot be loaded: {error}") from error
        digest = self._functions.source_digest
        digest.restype = ctypes.c_char_p
        if digest().decode() != sources.digest():
            raise Unavailable(f"{path.name} was built of other sources: {sources.BUILD_COMMAND}")
        runs = [isa for number, isa in enumerate(sources.VARIANTS) if self._functions.cpu_runs(c_int(number))]
        if not runs:
            raise Unavailable(f"this CPU has none of {', '.join(sources.VARIANTS)}")
        if forced and forced not in runs:
            raise Unavailable(f"{FORCED} is {forced!r}, this CPU runs {', '.join(runs)}")
        self.isa = forced or runs[-1]
        self._process = os.getpid()
        self._fork_join = _fork_join()

    def threads(self) -> int:
        """Threads to use: those of torch, but one in a forked child, where OpenMP's pool is dead."""
        return torch.get_num_threads() if os.getpid() == self._process and self._fork_join else 1

    def problem(self, scores: Scores, chunks: int = 1) -> Problem:
        """Describe what surrounds the score map; `scores` must outlive the result."""
        batch, heads, n, m = scores.shape
        mask = None if scores.mask is None else scores.mask.expand(batch, heads, n, m)
        return Problem(
            batch,
            heads,
            n,
            m,
            scores.causal,
            pointer(mask),
            (0, 0, 0, 0) if mask is None else mask.stride(),
            _lengths(scores.query_lengths),
            _lengths(scores.key_lengths),
            self.threads(),
            chunks,
            self._fork_join,
        )

    def call(self, name: str, dtype: torch.dtype, *arguments: ctypes.Structure | Tensor | int | None) -> None:
        """Call a function of kernel.cpp; structs go by reference, tensors by address."""
        function = getattr(self._functions, f"{name}_{self.isa}_{'double' if dtype == torch.float64 else 'float'}")
        if function(*(_argument(argument) for argument in arguments)):
            raise MemoryError(f"no memory for the tiles of {name}")


def _lengths(lengths: Tensor | None) -> int | None:
    if lengths is not None and not (lengths.is_contiguous() and lengths.dtype == torch.int64):
        raise ValueError(f"kernels read contiguous int64 lengths, got {lengths.dtype}, strides {lengths.stride()}")
    return pointer(lengths)


def _argument(argument: ctypes.Structure | Tensor | int | None) -> object:
    if isinstance(argument, ctypes.Structure):
        return ctypes.byref(argument)
    if isinstance(argument, Tensor) and not argument.is_contiguous():
        raise ValueError(f"kernels read contiguous tensors here, got strides {argument.stride()}")
    return c_int64(argument) if isinstance(argument, int) else c_void_p(pointer(argument))


def _fork_join() -> int | None:
    """Address of the fork of torch's own OpenMP runtime: libgomp's entry, which those of LLVM and Intel have too."""
    try:
        runtime = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"))
        return ctypes.cast(runtime.GOMP_parallel, c_void_p).value
    except (OSError, AttributeError):
        return None


def pointer(tensor: Tensor | None) -> int | None:
    """Address of the first element."""
    return None if tensor is None else tensor.data_ptr()


def rows(tensor: Tensor) -> Tensor:
    """The tensor with its last axis contiguous, as the kernels read it."""
    return tensor if tensor.stride(-1) == 1 or tensor.shape[-1] == 1 else tensor.contiguous()


def score_map(
    scale: float,
    query: Tensor,
    key: Tensor,
    lse: Tensor | None = None,
    grads: tuple[Tensor | None, Tensor | None] = (None, None),
) -> Map:
    """Describe a score map; the tensors, made readable by `rows`, must outlive the result."""
    return Map(
        query.data_ptr(),
        key.data_ptr(),
        query.stride()[:3],
        key.stride()[:3],
        key.shape[1],
        key.shape[3],
        scale,
        pointer(lse),
        *map(pointer, grads),
    )


def feature_map(tensor: Tensor, grad: Tensor | None = None) -> Features:
    """Describe features; the same holds for them."""
    return Features(tensor.data_ptr(), tensor.stride()[:3], tensor.shape[-1], pointer(grad))


@cache
def load() -> Library:
    """Give the library for this process. Raises Unavailable."""
    return Library(sources.LIBRARY, os.environ.get(FORCED))
