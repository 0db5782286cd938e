"""The masks that transformers asks for, and what they stand for."""

import inspect
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool
from torch import Tensor

from attnloss.probe.errors import ProbeError

if TYPE_CHECKING:
    from attnloss.probe.sequences import Sequences

MaskFunction = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]

KNOWN = frozenset(
    {
        "causal_mask_function",
        "bidirectional_mask_function",
        "sliding_window_overlay",
        "sliding_window_bidirectional_overlay",
        "chunked_overlay",
    }
)
"""Patterns of transformers.masking_utils that depend on the places of query and key in their text alone."""


@dataclass(frozen=True, eq=False)
class Description:
    """What a mask that a model hands to its layers stands for.

    `padding` [B, keys so far] is the model's own mask of the texts, whose columns from `offset` are the
    queries; `window` bounds the distance of a local pattern. Of `sequences` the mask itself says nothing.
    """

    function: MaskFunction
    padding: Bool[Tensor, "B _"] | None
    offset: int
    window: int | None
    sequences: "Sequences | None"

    @property
    def patterns(self) -> frozenset[str]:
        """Names of the mask functions that it is made of."""
        return frozenset(_leaves(self.function))

    @property
    def causal(self) -> bool:
        """Whether no query sees a later key, for certain."""
        return "causal_mask_function" in self.patterns and self.patterns <= KNOWN

    def valid_rows(self, n: int) -> Bool[Tensor, "B n"] | None:
        """Say which of the queries of self-attention are not padding; None if nothing is known of it."""
        if self.padding is None:
            return None
        rows = self.padding[:, self.offset : self.offset + n]
        return rows if rows.shape[1] == n else None

    def local(self, n: int, m: int, device: torch.device) -> tuple[bool, Bool[Tensor, "1 1 n m"] | None]:
        """Give the pattern of one text of n queries and m keys: whether it is causal, and a mask if it needs one."""
        if not self.patterns <= KNOWN:
            names = ", ".join(sorted(self.patterns - KNOWN))
            raise ProbeError(
                f"sequences cannot follow the mask function {names}; if the texts are packed, give attention_mask=ones"
            )
        plain = {"causal_mask_function", "bidirectional_mask_function"}
        if self.patterns <= plain or (self.window is not None and m < self.window):
            return self.causal, None
        i, j = torch.arange(n, device=device)[:, None], torch.arange(m, device=device)
        zero = torch.zeros(1, 1, 1, 1, dtype=torch.int64, device=device)
        return False, self.function(zero, zero, i[None, None], j[None, None]).expand(1, 1, n, m)


class _Running(threading.local):
    """The sequences of the forwards under way in this thread, the innermost last."""

    def __init__(self) -> None:
        self.stack: list[Sequences | None] = []


RUNNING = _Running()


def make_mask(
    batch_size: int,
    q_length: int,
    kv_length: int,
    q_offset: int | Tensor = 0,
    kv_offset: int = 0,
    *,
    mask_function: MaskFunction,
    attention_mask: Tensor | None = None,
    local_size: int | None = None,
    **options: Any,
) -> Tensor | None:
    """Give what transformers' `sdpa_mask` gives, described; for sequences an empty mask that is only described."""
    from transformers.masking_utils import sdpa_mask

    sequences = RUNNING.stack[-1] if RUNNING.stack else None
    mask: Tensor | None
    if sequences is None:
        mask = sdpa_mask(
            batch_size=batch_size,
            q_length=q_length,
            kv_length=kv_length,
            q_offset=q_offset,  # type: ignore[arg-type]  # a static cache gives a tensor, and it takes one
            kv_offset=kv_offset,
            mask_function=mask_function,
            attention_mask=attention_mask,
            local_size=local_size,
            **options,
        )
    else:
        # no attention function takes this shape by mistake: it broadcasts to no map
        mask = torch.empty(1, 1, 0, 0, dtype=torch.bool, device=options.get("device"))
    if mask is not None:
        described = Description(mask_function, attention_mask, int(q_offset), local_size, sequences)
        mask._attnloss = described  # type: ignore[attr-defined]  # the layers get this very tensor, or it is refused
    return mask


def description(mask: Tensor | None) -> Description | None:
    """What `make_mask` said of a mask; None for a mask that was made by someone else."""
    return getattr(mask, "_attnloss", None)


def _leaves(function: MaskFunction) -> list[str]:
    name = getattr(function, "__qualname__", repr(function)).partition(".")[0]
    if name != "and_masks":
        return [name]
    parts = inspect.getclosurevars(function).nonlocals["mask_functions"]
    return [leaf for part in parts for leaf in _leaves(part)]
