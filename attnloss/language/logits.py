"""Where logits come from: hidden states and the output matrix, or a tensor that holds them."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

Sums = Sequence[Tensor | None]
"""One tensor per tensor of a source, to which its gradient is added, or None where none is wanted."""


def statistics_dtype(dtype: torch.dtype) -> torch.dtype:
    """Give the dtype in which logits of a source's dtype are computed."""
    return torch.float64 if dtype == torch.float64 else torch.float32


class Columns(ABC):
    """The logits of all tokens over a block of the vocabulary."""

    @abstractmethod
    def logits(self, rows: slice, out: Float[Tensor, "r c"]) -> None:
        """Write the logits of some tokens."""

    @abstractmethod
    def add_gradient(self, rows: slice, flow: Float[Tensor, "r c"]) -> None:
        """Add to the sums what ∂loss/∂logits of a tile means for the tensors."""

    @abstractmethod
    def finish(self) -> None:
        """Hand the sums of the block over; no tile of it follows."""


class Source(ABC):
    """Logits that can be computed block by block."""

    field: ClassVar[str]

    @property
    @abstractmethod
    def tensors(self) -> tuple[Tensor | None, ...]:
        """The arguments of its constructor: what the logits are differentiable in."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """Tokens and vocabulary."""

    @abstractmethod
    def columns(self, block: slice, sums: Sums = ()) -> Columns:
        """Open a block of the vocabulary; `sums` as `zeros` made them if gradients will be added."""

    @abstractmethod
    def zeros(self, needed: Sequence[bool]) -> list[Tensor | None]:
        """Make the sums of the gradients."""

    @abstractmethod
    def dense(self) -> Float[Tensor, "t V"]:
        """Compute all logits in float64, for the reference."""

    @property
    def first(self) -> Tensor:
        """The tensor that gives device and dtype, one row per token."""
        tensor = self.tensors[0]
        assert tensor is not None
        return tensor

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the statistics."""
        return statistics_dtype(self.first.dtype)


@dataclass(frozen=True, eq=False)
class Projection(Source):
    """Logits h·Wᵀ + b."""

    hidden: Float[Tensor, "t d"]
    weight: Float[Tensor, "V d"]
    bias: Float[Tensor, " V"] | None = None
    field = "hidden"

    @property
    @override
    def tensors(self) -> tuple[Tensor | None, ...]:
        return self.hidden, self.weight, self.bias

    @property
    @override
    def shape(self) -> tuple[int, int]:
        return self.hidden.shape[0], self.weight.shape[0]

    @override
    def columns(self, block: slice, sums: Sums = ()) -> Columns:
        return _ProjectionColumns(self, block, sums)

    @override
    def zeros(self, needed: Sequence[bool]) -> list[Tensor | None]:
        hidden = torch.zeros_like(self.hidden, dtype=self.dtype) if needed[0] else None
        weight = torch.empty_like(self.weight) if needed[1] else None
        bias = torch.empty_like(self.bias) if needed[2] and self.bias is not None else None
        return [hidden, weight, bias]

    @override
    def dense(self) -> Tensor:
        logits = self.hidden.double() @ self.weight.double().mT
        return logits if self.bias is None else logits + self.bias.double()


class _ProjectionColumns(Columns):
    """A block of the output matrix, widened once; its gradient is summed wide and rounded once."""

    def __init__(self, source: Projection, block: slice, sums: Sums) -> None:
        self.hidden, self.dtype = source.hidden, source.dtype
        self.weight = source.weight[block].to(self.dtype)
        self.bias = None if source.bias is None else source.bias[block].to(self.dtype)
        self.hidden_sum, *slots = sums or (None, None, None)
        self.slots = [None if slot is None else slot[block] for slot in slots]
        self.sums = [None if slot is None else torch.zeros_like(slot, dtype=self.dtype) for slot in self.slots]

    @override
    def logits(self, rows: slice, out: Tensor) -> None:
        hidden = self.hidden[rows].to(self.dtype)
        if self.bias is None:
            torch.mm(hidden, self.weight.mT, out=out)
        else:
            torch.addmm(self.bias, hidden, self.weight.mT, out=out)

    @override
    def add_gradient(self, rows: slice, flow: Tensor) -> None:
        weight_sum, bias_sum = self.sums
        if self.hidden_sum is not None:
            self.hidden_sum[rows].addmm_(flow, self.weight)
        if weight_sum is not None:
            weight_sum.addmm_(flow.mT, self.hidden[rows].to(self.dtype))
        if bias_sum is not None:
            bias_sum.add_(flow.sum(0))

    @override
    def finish(self) -> None:
        for slot, total in zip(self.slots, self.sums, strict=True):
            if slot is not None and total is not None:
                slot.copy_(total)


@dataclass(frozen=True, eq=False)
class Given(Source):
    """Logits that are there already, in any float dtype."""

    values: Float[Tensor, "t V"]
    field = "logits"

    @property
    @override
    def tensors(self) -> tuple[Tensor | None, ...]:
        return (self.values,)

    @property
    @override
    def shape(self) -> tuple[int, int]:
        return self.values.shape[0], self.values.shape[1]

    @override
    def columns(self, block: slice, sums: Sums = ()) -> Columns:
        return _GivenColumns(self.values[:, block], sums[0][:, block] if sums and sums[0] is not None else None)

    @override
    def zeros(self, needed: Sequence[bool]) -> list[Tensor | None]:
        return [torch.empty_like(self.values) if needed[0] else None]

    @override
    def dense(self) -> Tensor:
        return self.values.double()


@dataclass(frozen=True, eq=False)
class _GivenColumns(Columns):
    values: Tensor
    gradient: Tensor | None

    @override
    def logits(self, rows: slice, out: Tensor) -> None:
        out.copy_(self.values[rows])

    @override
    def add_gradient(self, rows: slice, flow: Tensor) -> None:
        if self.gradient is not None:
            self.gradient[rows].copy_(flow)

    @override
    def finish(self) -> None:
        pass
