"""One pass over the tiles of a score map: what is read, and what is computed of each tile."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import cast

from torch import Tensor

from attnloss.block import Block
from attnloss.functional import Carried, Functional, Operand, State
from attnloss.score_map import ScoreMap
from attnloss.tiles import Tile
from attnloss.tiling import tiles
from attnloss.workspace import Workspace, borrowed

States = dict[int, State]
"""What carried functionals, by their number, pass on from tile to tile."""


@dataclass(frozen=True, eq=False)
class Pass:
    """Functionals over one score map, and every tensor that they read: those of the map first."""

    scores: ScoreMap
    functionals: tuple[Functional, ...]
    operands: tuple[Operand, ...]
    places: tuple[tuple[int, ...], ...]
    carried: tuple[int, ...] = field(default=())

    @classmethod
    def of(cls, scores: ScoreMap, functionals: Sequence[Functional]) -> "Pass":
        """Collect the operands, each once, and remember which belong to which functional."""
        operands = list(scores.operands)
        places = []
        for functional in functionals:
            own = []
            for operand in functional.operands:
                known = (i for i, at in enumerate(operands) if at.tensor is operand.tensor and at.axes == operand.axes)
                place = next(known, len(operands))
                if place == len(operands):
                    operands.append(operand)
                own.append(place)
            places.append(tuple(own))
        carried = tuple(i for i, functional in enumerate(functionals) if isinstance(functional, Carried))
        return cls(scores, tuple(functionals), tuple(operands), tuple(places), carried)

    def chains(self) -> list[list[Tile]]:
        """Cut the queries that some functional needs into tiles, grouped by batch entries and heads."""
        rows = [functional.rows(self.scores) for functional in self.functionals]
        first, stop = min(part.start for part in rows), max(part.stop for part in rows)
        whole_heads = any(functional.whole_heads for functional in self.functionals)
        chains: list[list[Tile]] = []
        for tile in tiles(self.scores, range(first, stop), whole_heads=whole_heads, carried=bool(self.carried)):
            if chains and (chains[-1][0].batch, chains[-1][0].heads) == (tile.batch, tile.heads):
                chains[-1].append(tile)
            else:
                chains.append([tile])
        return chains

    def block(self, tile: Tile, cuts: Sequence[Tensor], workspace: Workspace | None = None) -> Block:
        """Compute the scores of a tile."""
        return Block(self.scores, tile, cuts[: len(self.scores.operands)], workspace)

    def begin(self, tile: Tile) -> States:
        """Give the states before the first tile of a chain."""
        return {i: cast("Carried", self.functionals[i]).start(self.scores, tile) for i in self.carried}

    def parts(
        self, block: Block, cuts: Sequence[Tensor], states: States, numbers: Sequence[int]
    ) -> Iterator[tuple[int, Tensor]]:
        """Compute some functionals of a block; the states move on."""
        for number in numbers:
            functional, own = self.functionals[number], [cuts[place] for place in self.places[number]]
            if isinstance(functional, Carried):
                part, states[number] = functional.advance(block, states[number], *own)
            else:
                part = functional.from_block(block, *own)
            yield number, part

    def run(self, chains: Sequence[Sequence[Tile]], keep: Callable[[Tile, States], None]) -> list[Tensor]:
        """Compute everything, tile by tile; `keep` sees the states before each tile."""
        results = [functional.allocate(self.scores) for functional in self.functionals]
        with borrowed() as workspace:
            for chain in chains:
                states = self.begin(chain[0])
                for tile in chain:
                    keep(tile, states)
                    cuts = [operand.cut(tile) for operand in self.operands]
                    block = self.block(tile, cuts, workspace)
                    for number, part in self.parts(block, cuts, states, range(len(self.functionals))):
                        slot = self.functionals[number].slot(results[number], tile)
                        _ = slot.add_(part) if self.functionals[number].accumulates else slot.copy_(part)
        return results
