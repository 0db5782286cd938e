"""Sequences through a model: token losses, statistics and losses of its attention maps, from one forward each."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from attnloss.errors import FieldError
from attnloss.probe import probe
from service.errors import DeadlinePassed
from service.text.models import TextModel
from service.text.token_scores import Forwarded, TokenSequence, score

_MOST_WEIGHT_CELLS = 1 << 22
"""n × m of all sequences of a forward that gives weights, of every layer and head at once."""
_ALIKE_TOKENS = 16
"""Sequences of which one has so many tokens more than another are alike, however short."""


@dataclass(frozen=True)
class Needs:
    """What is wanted of every sequence of a forward.

    `losses` are as `attnloss.probe` takes them; `scores` is whether token log-probabilities are wanted, `alternatives`
    how many likeliest tokens, and `following` whether also those after the last token of a causal model; `keep_maps`
    keeps queries and keys, for comparisons afterwards; `queries` and `keys` cut a window out of weights.
    """

    statistics: tuple[str, ...] = ()
    losses: tuple[dict[str, Any], ...] = ()
    layers: tuple[int, ...] | None = None
    heads: tuple[int, ...] | None = None
    site: str | None = None
    top_k: int | None = None
    scores: bool = False
    alternatives: int = 0
    following: bool = False
    keep_maps: bool = False
    queries: tuple[int, int] | None = None
    keys: tuple[int, int] | None = None

    @property
    def probes(self) -> bool:
        """Whether anything of the attention maps is wanted."""
        return bool(self.statistics or self.losses or self.keep_maps)


class SequenceRefused(Exception):
    """A sequence whose maps do not fit what is asked of them: its place, and why."""

    def __init__(self, place: int, error: FieldError) -> None:
        super().__init__(str(error))
        self.place = place
        self.error = error


def forward(
    model: TextModel,
    sequences: Sequence[TokenSequence],
    needs: Needs,
    max_batch_tokens: int,
    given_up: Callable[[], bool] = lambda: False,
) -> Iterator[tuple[list[int], list[Forwarded]]]:
    """Run the sequences, those of like length together; gives places in `sequences` and what came of them.

    Results hold views of whole batches: use them up before the next are asked for. Raises SequenceRefused, and
    DeadlinePassed if `given_up` says before a forward that nobody waits any more.
    """
    order = sorted(range(len(sequences)), key=lambda i: len(sequences[i]))
    for places in _batches(model, sequences, order, needs, max_batch_tokens):
        if given_up():
            raise DeadlinePassed("The deadline passed during the computation.")
        try:
            came = _run(model, [sequences[i] for i in places], needs)
        except FieldError as error:
            if len(places) == 1:
                raise SequenceRefused(places[0], error) from None
        else:
            yield places, came
            continue
        for i in places:  # one of them does not fit: find it
            yield from (([i], came) for _, came in forward(model, [sequences[i]], needs, max_batch_tokens))


def _batches(
    model: TextModel, sequences: Sequence[TokenSequence], order: Sequence[int], needs: Needs, max_batch_tokens: int
) -> Iterator[list[int]]:
    """Places whose sequences share a forward.

    Statistics of a batch have room for its longest sequence each, so those are of like length, and of bounded area.
    """
    most_cells = _MOST_WEIGHT_CELLS if "weights" in needs.statistics else max_batch_tokens**2
    batch: list[int] = []
    tokens = 0
    for i in order:
        size = len(sequences[i])
        grown = tokens + size if model.layout == "packed" else (len(batch) + 1) * size
        full = grown > max_batch_tokens or model.layout == "single"
        if needs.probes and batch:
            full |= size > 2 * len(sequences[batch[0]]) + _ALIKE_TOKENS or (len(batch) + 1) * size * size > most_cells
        if batch and full:
            yield batch
            batch, grown = [], size
        batch.append(i)
        tokens = grown
    if batch:
        yield batch


@torch.inference_mode()
def _run(model: TextModel, sequences: list[TokenSequence], needs: Needs) -> list[Forwarded]:
    inputs, lengths, key_lengths = _inputs(model, sequences)
    network = model.body if model.projects or not needs.scores else model.network
    asked: dict[str, Any] = {}
    if needs.probes:
        asked = {"returns": needs.statistics, "losses": needs.losses, "layers": needs.layers, "heads": needs.heads}
        asked |= {
            "queries": needs.queries,
            "keys": needs.keys,
            "site": needs.site,
            "top_k": _top_k(needs, lengths, key_lengths),
            "keep_scores": needs.keep_maps,
        }
    packed = model.layout == "packed"
    with (
        probe(network, **asked) as probing,
        probing.sequences(lengths, packed=packed, key_lengths=key_lengths),
    ):
        out = network(**inputs)
    results = [
        Forwarded(records=probing.records if needs.probes else [], row=row, queries=n, keys=n)
        for row, n in enumerate(lengths)
    ]
    for result, sequence in zip(results, sequences, strict=True):
        if model.kind == "encoder-decoder":
            result.keys = len(sequence.ids)
            if needs.site == "encoder":
                result.queries = result.keys
            elif needs.site == "decoder":
                result.keys = result.queries
    if needs.scores:
        score(model, sequences, needs.alternatives, out, results, following=needs.following)
    return results


def _top_k(needs: Needs, lengths: list[int], key_lengths: list[int] | None) -> int | None:
    """As many keys as there are in this batch, at most; the answer has the rest as missing."""
    keys = key_lengths if key_lengths is not None and needs.site != "decoder" else lengths
    return None if needs.top_k is None else min(needs.top_k, max(keys))


def _inputs(model: TextModel, sequences: list[TokenSequence]) -> tuple[dict[str, Any], list[int], list[int] | None]:
    """The network's inputs, the lengths of what it scores, and those of what cross-attention looks at."""
    own = [sequence.ids for sequence in sequences]
    inputs: dict[str, Any] = {} if model.kind == "encoder" else {"use_cache": False}
    if model.layout == "packed":
        ids = torch.tensor([[i for ids in own for i in ids]], device=model.device)
        positions = torch.cat([torch.arange(len(ids)) for ids in own])[None].to(model.device)
        inputs |= {"input_ids": ids, "position_ids": positions, "attention_mask": torch.ones_like(ids)}
        return inputs, [len(ids) for ids in own], None
    inputs |= _padded(own, model)
    if model.kind != "encoder-decoder":
        return inputs, [len(ids) for ids in own], None
    targets = _padded([sequence.target_ids or [model.pad] for sequence in sequences], model)
    labels = targets["input_ids"]
    inputs["decoder_input_ids"] = model.network.prepare_decoder_input_ids_from_labels(labels=labels)
    inputs["decoder_attention_mask"] = targets["attention_mask"]
    return inputs, [len(sequence.target_ids or [0]) for sequence in sequences], [len(ids) for ids in own]


def _padded(rows: list[list[int]], model: TextModel) -> dict[str, Tensor]:
    longest = max(map(len, rows))
    ids = torch.tensor([row + [model.pad] * (longest - len(row)) for row in rows], device=model.device)
    lengths = torch.tensor([len(row) for row in rows], device=model.device)
    mask = torch.arange(longest, device=model.device) < lengths[:, None]
    return {"input_ids": ids, "attention_mask": mask.long()}
