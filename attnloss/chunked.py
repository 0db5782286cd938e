"""The chunked backend: one pass over the tiles of a score map computes everything a request wants of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from attnloss.block import Block
from attnloss.functional import Functional, Operand
from attnloss.scores import Scores
from attnloss.tiles import Tile
from attnloss.tiling import tiles
from attnloss.workspace import Workspace, borrowed


@dataclass(frozen=True, eq=False)
class Pass:
    """Functionals over one score map, and every tensor that they read: query and key first."""

    scores: Scores
    functionals: tuple[Functional, ...]
    operands: tuple[Operand, ...]
    spans: tuple[slice, ...]

    @classmethod
    def of(cls, scores: Scores, functionals: Sequence[Functional]) -> "Pass":
        """Collect the operands, and remember which belong to which functional."""
        operands = [Operand(scores.query, "query"), Operand(scores.key, "key")]
        spans = []
        for functional in functionals:
            first = len(operands)
            operands += functional.operands
            spans.append(slice(first, len(operands)))
        return cls(scores, tuple(functionals), tuple(operands), tuple(spans))

    def tiles(self) -> list[Tile]:
        """Cut the queries that some functional needs into tiles."""
        rows = [functional.rows(self.scores) for functional in self.functionals]
        first, stop = min(part.start for part in rows), max(part.stop for part in rows)
        return list(tiles(self.scores, range(first, stop)))

    def run(self, parts: Sequence[Tile]) -> list[Tensor]:
        """Compute everything, tile by tile."""
        results = [functional.allocate(self.scores) for functional in self.functionals]
        with borrowed() as workspace:
            for tile in parts:
                self._fill(results, tile, workspace)
        return results

    def _fill(self, results: Sequence[Tensor], tile: Tile, workspace: Workspace) -> None:
        cuts = [operand.cut(tile) for operand in self.operands]
        block = Block(self.scores, tile, cuts[0], cuts[1], workspace)
        for functional, span, result in zip(self.functionals, self.spans, results, strict=True):
            part, slot = functional.from_block(block, *cuts[span]), functional.slot(result, tile)
            _ = slot.add_(part) if functional.accumulates else slot.copy_(part)


def stream(scores: Scores, wanted: Mapping[str, Functional]) -> dict[str, Tensor]:
    """Compute functionals tile by tile, in memory linear in n and m both ways.

    What fits in one tile is left to autograd. Beyond that the backward pass computes each tile again, and
    cannot itself be differentiated.
    """
    work = Pass.of(scores, tuple(wanted.values()))
    parts = work.tiles()
    tensors = [operand.tensor for operand in work.operands]
    recording = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    if recording and len(parts) > 1:
        streamed = cast("Callable[..., tuple[Tensor, ...]]", _Streamed.apply)
        return dict(zip(wanted, streamed(work, parts, *tensors), strict=True))
    with torch.set_grad_enabled(recording):
        return dict(zip(wanted, work.run(parts), strict=True))


class _Streamed(torch.autograd.Function):
    """The pass as one node of the graph: it saves the operands and nothing of the score map."""

    @staticmethod
    def forward(ctx: Any, work: Pass, parts: list[Tile], *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.work, ctx.parts = work, parts
        ctx.save_for_backward(*tensors)
        ctx.set_materialize_grads(False)
        results = work.run(parts)
        ctx.mark_non_differentiable(*(result for result in results if not result.is_floating_point()))
        return tuple(results)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        needed = ctx.needs_input_grad[2:]
        pairs = zip(ctx.saved_tensors, needed, strict=True)
        sums = [torch.zeros_like(tensor) if need else None for tensor, need in pairs]
        for tile in ctx.parts if any(grad is not None for grad in grads) else ():
            _add_tile_gradient(ctx.work, tile, ctx.saved_tensors, grads, sums)
        return None, None, *sums


def _add_tile_gradient(
    work: Pass,
    tile: Tile,
    tensors: Sequence[Tensor],
    grads: Sequence[Tensor | None],
    sums: Sequence[Tensor | None],
) -> None:
    """Compute the tile again with a graph of its own, and add its gradients to the sums in place."""
    pairs = zip(work.operands, tensors, sums, strict=True)
    cuts = [operand.cut(tile, whole).detach().requires_grad_(total is not None) for operand, whole, total in pairs]
    parts, part_grads = [], []
    with torch.enable_grad():
        block = Block(work.scores, tile, cuts[0], cuts[1])
        for functional, span, grad in zip(work.functionals, work.spans, grads, strict=True):
            if grad is not None:
                part = functional.from_block(block, *cuts[span])
                if part.requires_grad:
                    parts.append(part)
                    part_grads.append(functional.slot(grad, tile))
    if not parts:
        return
    targets = [number for number, total in enumerate(sums) if total is not None]
    flows = torch.autograd.grad(parts, [cuts[number] for number in targets], part_grads, allow_unused=True)
    for number, flow in zip(targets, flows, strict=True):
        if flow is not None:
            work.operands[number].cut(tile, sums[number]).add_(flow)
