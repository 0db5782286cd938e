"""The pass as one node of autograd's graph, whose backward computes each tile again."""

from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from attnloss.functional import State
from attnloss.onepass import Pass, States
from attnloss.tiles import Operand, Tile
from attnloss.workspace import borrowed


class Streamed(torch.autograd.Function):
    """The pass as one node of the graph.

    It saves the operands and nothing of the score map; of states that are carried from tile to tile, about
    the square root of their number, from which those between are computed again.
    """

    @staticmethod
    def forward(ctx: Any, work: Pass, chains: list[list[Tile]], *tensors: Tensor) -> tuple[Tensor, ...]:
        """Run the pass."""
        stride = max(round(max(len(chain) for chain in chains) ** 0.5), 1)
        kept: dict[tuple[int, int, int], States] = {}

        def keep(tile: Tile, states: States) -> None:
            if work.carried and starts[_place(tile)] % stride == 0:
                kept[_place(tile)] = dict(states)

        starts = {_place(tile): number for chain in chains for number, tile in enumerate(chain)}
        results = work.run(chains, keep)
        segments = [chain[first : first + stride] for chain in chains for first in range(0, len(chain), stride)]
        ctx.work, ctx.segments, ctx.kept = work, segments, kept
        ctx.save_for_backward(*tensors)
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(*(result for result in results if not result.is_floating_point()))
        return tuple(results)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        """Go back through the tiles, last first."""
        needed = ctx.needs_input_grad[2:]
        pairs = zip(ctx.saved_tensors, needed, strict=True)
        sums = [torch.zeros_like(tensor) if need else None for tensor, need in pairs]
        step = _Backward(ctx.work, ctx.saved_tensors, grads, sums)
        for segment in reversed(ctx.segments) if step.numbers else ():
            step.through(segment, ctx.kept.get(_place(segment[0]), {}))
        return None, None, *sums


def _place(tile: Tile) -> tuple[int, int, int]:
    return tile.batch.start, tile.heads.start, tile.rows.start


class _Backward:
    """Adds the gradients of tile after tile, last first, to the sums in place."""

    def __init__(
        self, work: Pass, tensors: Sequence[Tensor], grads: Sequence[Tensor | None], sums: Sequence[Tensor | None]
    ) -> None:
        self._work, self._tensors, self._grads, self._sums = work, tensors, grads, sums
        self.numbers = [number for number, grad in enumerate(grads) if grad is not None]
        self._flows: dict[int, State] = {}
        self._chain: tuple[slice, slice] | None = None

    def through(self, segment: Sequence[Tile], states: States) -> None:
        """Go back through tiles that follow each other, from the states before the first of them."""
        chain = (segment[0].batch, segment[0].heads)
        if chain != self._chain:
            self._chain, self._flows = chain, {}
        carried = [number for number in self.numbers if number in self._work.carried]
        before = [{number: states[number] for number in carried}]
        for tile in segment[:-1] if carried else ():
            moving = dict(before[-1])
            with torch.no_grad(), borrowed() as workspace:
                cuts = [operand.cut(tile, whole) for operand, whole in self._whole()]
                block = self._work.block(tile, cuts, workspace)
                list(self._work.parts(block, cuts, moving, carried))
            before.append(moving)
        for number, tile in reversed(list(enumerate(segment))):
            self._add_tile(tile, before[number] if carried else {})

    def _whole(self) -> Iterator[tuple[Operand, Tensor]]:
        return zip(self._work.operands, self._tensors, strict=True)

    def _add_tile(self, tile: Tile, before: States) -> None:
        """Compute the tile again with a graph of its own."""
        pairs = zip(self._work.operands, self._tensors, self._sums, strict=True)
        cuts = [operand.cut(tile, whole).detach().requires_grad_(total is not None) for operand, whole, total in pairs]
        states = {number: tuple(part.detach().requires_grad_() for part in state) for number, state in before.items()}
        moving, outputs, flows = dict(states), [], []
        with torch.enable_grad():
            for number, part in self._work.parts(self._work.block(tile, cuts), cuts, moving, self.numbers):
                grad = cast("Tensor", self._grads[number])
                outputs.append(part)
                flows.append(self._work.functionals[number].slot(grad, tile))
        for number, after in self._flows.items():
            outputs += moving[number]
            flows += after
        live = [(output, flow) for output, flow in zip(outputs, flows, strict=True) if output.requires_grad]
        if not live:
            return
        targets = [number for number, total in enumerate(self._sums) if total is not None]
        inputs = [cuts[number] for number in targets] + [part for state in states.values() for part in state]
        found = torch.autograd.grad(
            [output for output, _ in live], inputs, [flow for _, flow in live], allow_unused=True
        )
        for number, flow in zip(targets, found, strict=False):
            if flow is not None:
                self._work.operands[number].cut(tile, self._sums[number]).add_(flow)
        rest = iter(found[len(targets) :])
        self._flows = {
            number: tuple(torch.zeros_like(part) if (flow := next(rest)) is None else flow for part in state)
            for number, state in states.items()
        }
