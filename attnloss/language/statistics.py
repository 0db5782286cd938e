"""The chunked pass: statistics of every token's logits, and their gradients."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from attnloss.language.logits import Source
from attnloss.language.running import FAR, Running
from attnloss.language.tiling import cuts, tile_shape


@dataclass(frozen=True, eq=False)
class Wanted:
    """What to compute besides the lse; the columns of `picks` are log-probabilities to look up."""

    picks: Int[Tensor, "t g"]
    total: bool = False
    entropy: bool = False
    top: int = 0


@dataclass(frozen=True, eq=False)
class Statistics:
    """Per token, in nats.

    lse: log Σ_j exp(l_j). picked: log p at `picks`. total: Σ_j log p_j. entropy: −Σ_j p_j·log p_j. top: the largest
    log p, descending, ties to the lower index, and where they are.
    """

    lse: Float[Tensor, " t"]
    picked: Float[Tensor, "t g"]
    total: Float[Tensor, " t"] | None = None
    entropy: Float[Tensor, " t"] | None = None
    top: Float[Tensor, "t k"] | None = None
    top_index: Int[Tensor, "t k"] | None = None


def chunked(source: Source, wanted: Wanted) -> Statistics:
    """Compute statistics tile by tile, differentiable in the source's tensors."""
    apply = cast("Callable[..., tuple[Tensor, ...]]", _Chunked.apply)
    return Statistics(*apply(source, wanted, *source.tensors))


def _tiles(source: Source) -> Iterator[tuple[slice, list[tuple[slice, Tensor]]]]:
    """Cut the vocabulary into blocks and each into tiles, which share one buffer."""
    tokens, vocabulary = source.shape
    most_rows, most_columns = tile_shape(tokens)
    buffer = source.first.new_empty(most_rows * min(most_columns, vocabulary), dtype=source.dtype)
    for block in cuts(vocabulary, most_columns):
        width = block.stop - block.start
        rows = list(cuts(tokens, most_rows))
        yield block, [(part, buffer[: (part.stop - part.start) * width].view(-1, width)) for part in rows]


class _Chunked(torch.autograd.Function):
    """The pass as one node of the graph: it saves the tensors and a few numbers per token.

    Products are in place or into a given tensor, which autocast leaves alone.
    """

    @staticmethod
    def forward(ctx: Any, source: Source, wanted: Wanted, *tensors: Tensor | None) -> tuple[Tensor | None, ...]:
        running = Running(source, wanted.picks, total=wanted.total, entropy=wanted.entropy, top=wanted.top)
        for block, tiles in _tiles(source):
            columns = source.columns(block)
            for rows, tile in tiles:
                columns.logits(rows, tile)
                running.add(rows, block.start, tile)
        results = running.results()
        ctx.kind, ctx.picks = type(source), wanted.picks
        ctx.save_for_backward(running.peak, running.log_sum, results[3], running.top_index, *tensors)
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(*(part for part in results[5:] if part is not None))
        return results

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        saved, tensors = ctx.saved_tensors[:4], ctx.saved_tensors[4:]
        needed = ctx.needs_input_grad[2:]
        if all(grad is None for grad in grads):
            return (None, None, *(None for _ in needed))
        source = ctx.kind(*tensors)
        sums = source.zeros(needed)
        flow = _Flow.of(grads, saved, ctx.picks, source.shape[1])
        for block, tiles in _tiles(source):
            columns = source.columns(block, sums)
            for rows, tile in tiles:
                columns.logits(rows, tile)
                flow.replace(tile, rows, block.start)
                columns.add_gradient(rows, tile)
            columns.finish()
        pairs = zip(sums, tensors, strict=True)
        return (None, None, *(None if total is None else total.to(tensor.dtype) for total, tensor in pairs))


@dataclass(frozen=True, eq=False)
class _Flow:
    """∂loss/∂l_j = p_j·(share − g_H·(log p_j + H)) + g_total + Σ of the gradients picked at j.

    share = g_lse − Σ_g g_picked − Σ_k g_top − V·g_total; H: entropy, g_x: ∂loss/∂x
    """

    peak: Float[Tensor, " t"]
    log_sum: Float[Tensor, " t"]
    share: Float[Tensor, " t"]
    total: Float[Tensor, " t"] | None
    entropy: Float[Tensor, " t"] | None
    entropy_flow: Float[Tensor, " t"] | None
    places: Int[Tensor, "t p"]
    picked: Float[Tensor, "t p"]

    @classmethod
    def of(
        cls, grads: Sequence[Tensor | None], saved: Sequence[Tensor | None], picks: Tensor, vocabulary: int
    ) -> "_Flow":
        """Gather the gradients by how they act; `saved` are peak, log_sum, entropy and top_index."""
        peak, log_sum, entropy, top_index = saved
        assert peak is not None
        assert log_sum is not None
        lse, picked, total, entropy_flow, top, _ = grads
        share = torch.zeros_like(peak) if lse is None else lse.clone()
        places, flows = [picks[:, :0]], [peak.new_zeros(len(peak), 0)]
        for place, flow in ((picks, picked), (top_index, top)):
            if place is not None and flow is not None:
                places.append(place)
                flows.append(flow)
                share -= flow.sum(-1)
        if total is not None:
            share -= vocabulary * total
        return cls(peak, log_sum, share, total, entropy, entropy_flow, torch.cat(places, 1), torch.cat(flows, 1))

    def replace(self, tile: Float[Tensor, "r c"], rows: slice, start: int) -> None:
        """Turn the logits of a tile into their gradients, in place."""
        tile.sub_(self.peak[rows, None]).sub_(self.log_sum[rows, None])
        if self.entropy is None or self.entropy_flow is None:
            tile.exp_().mul_(self.share[rows, None])
        else:
            probability = tile.exp()
            flow, share = self.entropy_flow[rows, None], self.share[rows, None]
            tile.clamp_(min=FAR).add_(self.entropy[rows, None]).mul_(-flow).add_(share).mul_(probability)
        if self.total is not None:
            tile.add_(self.total[rows, None])
        place = self.places[rows] - start
        outside = (place < 0) | (place >= tile.shape[1])
        tile.scatter_add_(1, place.clamp(0, tile.shape[1] - 1), self.picked[rows].masked_fill(outside, 0.0))
