"""Sequences through a model: token losses, statistics and losses of its attention maps, from one forward each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from attnloss.errors import FieldError
from attnloss.language import TokenScores, token_scores, token_scores_from_logits
from attnloss.probe import AttentionRecord, probe
from service.errors import ComputeFailed
from service.text.models import TextModel

_IGNORED = -100


@dataclass(frozen=True)
class Needs:
    """What is wanted of every sequence of a forward.

    `losses` are as `attnloss.probe` takes them; `scores` is whether token log-probabilities are wanted, `alternatives`
    how many likeliest tokens; `keep_maps` keeps queries and keys, for comparisons afterwards.
    """

    statistics: tuple[str, ...] = ()
    losses: tuple[dict[str, Any], ...] = ()
    layers: tuple[int, ...] | None = None
    heads: tuple[int, ...] | None = None
    site: str | None = None
    top_k: int | None = None
    scores: bool = False
    alternatives: int = 0
    keep_maps: bool = False

    @property
    def probes(self) -> bool:
        """Whether anything of the attention maps is wanted."""
        return bool(self.statistics or self.losses or self.keep_maps)


@dataclass(frozen=True)
class TokenSequence:
    """Token ids, and of an encoder-decoder model those that it is to say."""

    ids: list[int]
    target_ids: list[int] | None = None

    def __len__(self) -> int:
        return len(self.ids) + len(self.target_ids or ())


@dataclass
class Forwarded:
    """What came of one sequence.

    `log_probs` [n]: of each token, NaN where nothing scores it; of an encoder-decoder model the target's tokens.
    `likeliest`: ids and log-probabilities [n, k] at each token's place. `records`: the layers of the batch that it was
    in, and `row` its place there.
    """

    log_probs: np.ndarray | None = None
    likeliest: tuple[np.ndarray, np.ndarray] | None = None
    records: list[AttentionRecord] = field(default_factory=list)
    row: int = 0
    queries: int = 0
    keys: int = 0


def forward(
    model: TextModel, sequences: Sequence[TokenSequence], needs: Needs, max_batch_tokens: int
) -> Iterator[tuple[list[int], list[Forwarded]]]:
    """Run the sequences, those of like length together; gives places in `sequences` and what came of them.

    Results hold views of whole batches: use them up before the next are asked for.
    """
    order = sorted(range(len(sequences)), key=lambda i: len(sequences[i]))
    for places in _batches(model, sequences, order, max_batch_tokens):
        yield places, _run(model, [sequences[i] for i in places], needs)


def _batches(
    model: TextModel, sequences: Sequence[TokenSequence], order: Sequence[int], max_batch_tokens: int
) -> Iterator[list[int]]:
    batch: list[int] = []
    tokens = 0
    for i in order:
        size = len(sequences[i])
        grown = tokens + size if model.layout == "packed" else (len(batch) + 1) * size
        if batch and (grown > max_batch_tokens or model.layout == "single"):
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
        asked |= {"site": needs.site, "top_k": _top_k(needs, lengths, key_lengths), "keep_scores": needs.keep_maps}
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
        _score(model, sequences, needs, out, results)
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


def _score(model: TextModel, sequences: list[TokenSequence], needs: Needs, out: Any, results: list[Forwarded]) -> None:
    """Log-probabilities of every token that has something before it, in the rows of the network's output."""
    rows: list[list[int]] = []
    for sequence in sequences:
        causal = model.kind == "causal"
        rows.append([*sequence.ids[1:], _IGNORED] if causal else list(sequence.target_ids or ()))
    states = out.last_hidden_state if model.projects else out.logits
    if model.layout == "packed":
        states = states[0]
    else:
        states = torch.cat([state[: len(row)] for state, row in zip(states, rows, strict=True)])
    targets = torch.tensor([i for row in rows for i in row], device=model.device)
    scored = _token_scores(model, states, targets, needs.alternatives)
    log_probs = scored.log_prob
    assert log_probs is not None
    start = 0
    for result, row in zip(results, rows, strict=True):
        part = slice(start, start + len(row))
        start += len(row)
        own = log_probs[part].float().cpu().numpy().astype(np.float64)
        result.log_probs = _at_their_places(own, model, np.nan)
        if scored.top is not None:
            indices, values = scored.top.indices[part].cpu().numpy(), scored.top.values[part].float().cpu().numpy()
            result.likeliest = _at_their_places(indices, model, -1), _at_their_places(values, model, np.nan)


def _at_their_places(values: np.ndarray, model: TextModel, missing: float) -> np.ndarray:
    """What the query before a token says of it, at the token's place."""
    if model.kind != "causal":
        return values
    moved = np.roll(values, 1, axis=0)
    moved[0] = missing
    return moved


def _token_scores(model: TextModel, states: Tensor, targets: Tensor, alternatives: int) -> TokenScores:
    top_k = alternatives or None
    try:
        if not model.projects:
            return token_scores_from_logits(states, targets, top_k=top_k)
        weight, bias = model.head
        return token_scores(states, weight, targets, bias=bias, top_k=top_k)
    except FieldError as error:
        if error.field == "top_k":
            raise
        raise ComputeFailed(f"{model.name} gives no finite scores in {states.dtype}.") from error
