"""What came of a text, as the answer has it."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor

from attnloss.loss import Loss
from attnloss.probe import AttentionRecord
from service.text import checks, reorder, words
from service.text.encoding import Encoding, scored_bytes
from service.text.forward import Needs
from service.text.prepare import Prepared, Text
from service.text.token_scores import Forwarded


def named(text: Text, ready: Prepared, options: dict[str, Any]) -> dict[str, Any]:
    """Tokens and offsets, or words and theirs."""
    answer: dict[str, Any] = {}
    for prefix, encoding in (("", text.encoding), ("target_", text.target)):
        if encoding is not None:
            units = words.units(encoding) if options["aggregate"] else encoding
            answer[f"{prefix}tokens"] = list(units.tokens)
            answer[f"{prefix}offsets"] = [list(offset) for offset in units.offsets]
    if text.target is not None and ready.site == "decoder":
        inputs = _decoder_inputs(text.target, ready)
        answer["key_tokens"] = list((words.units(inputs) if options["aggregate"] else inputs).tokens)
    if text.truncated:
        answer["truncated"] = True
    return answer


def layers(text: Text, ready: Prepared, options: dict[str, Any], came: Forwarded) -> dict[str, Any]:
    """`layers`, and `reorder` where it is asked for."""
    cut = _Cut(came, options, ready.needs, *_sides(text, ready))
    answer: dict[str, Any] = {}
    asked = checks.statistics(options)
    if asked or ready.needs.losses:
        answer["layers"] = [cut.layer(record, asked, options.get("reduction")) for record in came.records]
    if options["reorder"] is not None:
        answer["reorder"] = _reordered(text, options["reorder"], cut, came.records)
    return answer


def _sides(text: Text, ready: Prepared) -> tuple[Encoding, Encoding]:
    """The tokens that ask and those that are looked at; of a decoder, row t is the query that predicts token t."""
    if text.target is None or ready.site == "encoder":
        return text.encoding, text.encoding
    return text.target, text.encoding if ready.site == "cross" else _decoder_inputs(text.target, ready)


def _decoder_inputs(target: Encoding, ready: Prepared) -> Encoding:
    """What a decoder reads while it predicts the target: a token to begin with, and all of it but the last."""
    start = ready.model.network.config.decoder_start_token_id
    start = ready.model.pad if start is None else start
    return replace(
        target,
        ids=[start, *target.ids[:-1]],
        offsets=[(0, 0), *target.offsets[:-1]],
        special=[True, *target.special[:-1]],
        tokens=[str(ready.model.tokenizer.convert_ids_to_tokens(start)), *target.tokens[:-1]],
    )


class _Cut:
    """One text's part of a batch's records."""

    def __init__(
        self, came: Forwarded, options: dict[str, Any], needs: Needs, rows: Encoding, columns: Encoding
    ) -> None:
        self.row, self.n, self.m = came.row, came.queries, came.keys
        self.options, self.needs = options, needs
        self.rows = words.units(rows) if options["aggregate"] or options["reorder"] else None
        self.columns = words.units(columns) if self.rows is not None else None

    def layer(self, record: AttentionRecord, asked: Sequence[str], reduction: str | None) -> dict[str, Any]:
        heads = list(self.needs.heads or record.heads)
        answer: dict[str, Any] = {"layer": record.layer, "site": record.site, "heads": heads}
        for name in asked:
            if name == "top":
                answer["top"] = {
                    "index": self.top(record, "index", missing=-1),
                    "weight": self.top(record, "weight", missing=0),
                }
            else:
                answer[name] = self.merged(record, name) if self.options["aggregate"] else self.statistic(record, name)
        if record.losses:
            answer["losses"] = {label: self.loss(record, label, str(reduction)) for label in record.losses}
        return answer

    def statistic(self, record: AttentionRecord, name: str) -> np.ndarray:
        found = self.of_heads(record, record.values[name])
        if name == "received":
            return _numpy(found[:, : self.m])
        if name != "weights":
            return _numpy(found[:, : self.n])
        queries, keys = self.options["queries"], self.options["keys"]
        if self.needs.queries is None and queries is not None:
            found = found[:, slice(*queries)]
        if self.needs.keys is None and keys is not None:
            found = found[:, :, slice(*keys)]
        return _numpy(found[:, : None if queries else self.n, : None if keys else self.m])

    def of_heads(self, record: AttentionRecord, values: Tensor) -> Tensor:
        """The values of this text, by head in the order asked for."""
        own = values[self.row]
        return own if self.needs.heads is None else own[[record.heads.index(head) for head in self.needs.heads]]

    def values(self, record: AttentionRecord, name: str) -> np.ndarray:
        return _numpy(self.of_heads(record, record.values[name])[:, : self.n])

    def top(self, record: AttentionRecord, part: str, *, missing: int) -> np.ndarray:
        """The strongest keys, as many as were asked for, whatever a short text has."""
        found = self.values(record, f"top_{part}")
        beyond = self.options["top_k"] - found.shape[-1]
        return np.pad(found, ((0, 0), (0, 0), (0, beyond)), constant_values=missing)

    def merged(self, record: AttentionRecord, name: str) -> np.ndarray:
        assert self.rows is not None
        assert self.columns is not None
        if name == "weights":
            whole = _numpy(self.of_heads(record, record.values[name])[:, : self.n, : self.m])
            return words.merge_weights(whole, self.rows, self.columns)
        if name == "received":
            received = _numpy(self.of_heads(record, record.values[name])[:, : self.m])
            return words.merge_received(received, self.columns)
        return words.merge_mean(self.values(record, name), self.rows)

    def loss(self, record: AttentionRecord, label: str, reduction: str) -> Any:
        """A number for each head, or with reduction none its queries; one number where a loss has none per head."""
        loss, values = record.terms[label], record.losses[label][self.row : self.row + 1]
        counts = record.counts[self.row : self.row + 1, :, : self.n]
        if loss.unit != "batch":
            values = self.of_heads(record, record.losses[label])[None]
            counts = self.of_heads(record, record.counts)[None, :, : self.n]
        reduced = by_head(loss, values[..., : self.n] if loss.unit == "query" else values, counts, self.m, reduction)
        if self.rows is None or not self.options["aggregate"] or np.ndim(reduced) < 2:
            return reduced
        return words.merge_mean(reduced, self.rows)


def by_head(loss: Loss, values: Tensor, counts: Tensor, keys: int, reduction: str) -> Any:
    """The values of one text [1, heads, ...] by head, with reduction none by query; one number if it has no heads."""
    if loss.unit == "batch" or loss.own_reduction is not None:
        return _numpy(loss.reduce(values, counts, keys, reduction)).reshape(())[()]
    if reduction == "none":
        return _numpy(values[0])
    each = (loss.reduce(values[:, h : h + 1], counts[:, h : h + 1], keys, reduction) for h in range(values.shape[1]))
    return np.array([float(value) for value in each], np.float32)


def _numpy(tensor: Tensor) -> np.ndarray:
    return np.ascontiguousarray(tensor.detach().cpu().numpy())


def _reordered(text: Text, by: str, cut: _Cut, records: Sequence[AttentionRecord]) -> dict[str, Any]:
    """The words in the order that their weights give, mean over the layers and heads asked for."""
    units = cut.rows
    assert units is not None
    ordinary = np.array([not special for special in units.special])
    seen = np.mean([_seen_by(record, cut, units) for record in records], axis=0)[ordinary]
    if by == "received":
        received = np.mean([cut.merged(record, "received").mean(0) for record in records], axis=0)[ordinary]
        order = reorder.by_received(received, seen)
    else:
        weights = np.mean([cut.merged(record, "weights").mean(0) for record in records], axis=0)
        order = reorder.by_attention(weights[np.ix_(ordinary, ordinary)], seen)
    names = [token for token, kept in zip(units.tokens, ordinary, strict=True) if kept]
    placed = [names[i] for i in order]
    return {"by": by, "words": placed, "index": order, "text": " ".join(placed)}


def _seen_by(record: AttentionRecord, cut: _Cut, units: words.Units) -> np.ndarray:
    """How many queries may look at a token of each word, mean over its tokens."""
    counts = _numpy(record.counts[cut.row, 0, : cut.n])
    causal = cut.n > 1 and counts[0] < counts[-1]
    seen = cut.n - np.arange(cut.n) if causal else np.full(cut.n, cut.n)
    return words.merge_mean(seen.astype(np.float64), units)


def scores(text: Text, options: dict[str, Any], came: Forwarded, tokenizer: Any) -> dict[str, Any]:
    """Log-probabilities, loss, perplexity and bits per byte; and alternatives where they are asked for."""
    assert came.log_probs is not None
    encoding = text.target or text.encoding
    # float32 has no more digits, and JSON writes no more of them
    given = [None if math.isnan(value) else value for value in np.round(came.log_probs, 7).tolist()]
    scored = [value is not None for value in given]
    nats = -math.fsum(value for value in given if value is not None)
    mean = nats / sum(scored)
    answer: dict[str, Any] = {}
    if "loss" in options["returns"]:
        units = words.units(encoding) if options["aggregate"] else None
        answer["log_probs"] = given if units is None else words.merge_log_probs(given, units)
        answer["loss"] = mean
        answer["perplexity"] = math.exp(mean) if mean < 709 else None
        size = scored_bytes(encoding, scored)
        answer["bits_per_byte"] = nats / math.log(2) / size if size else None
    if came.likeliest is not None:
        answer["alternatives"] = _alternatives(came.likeliest, scored, tokenizer)
    return answer


def _alternatives(
    likeliest: tuple[np.ndarray, np.ndarray], scored: Sequence[bool], tokenizer: Any
) -> list[list[dict[str, Any]] | None]:
    ids, log_probs = likeliest
    words = {int(i): tokenizer.decode([int(i)]) for i in np.unique(ids[ids >= 0])}
    return [
        [
            {"token": words[int(i)], "id": int(i), "log_prob": float(str(value))}
            for i, value in zip(ids[place], log_probs[place], strict=True)
        ]
        if is_scored
        else None
        for place, is_scored in enumerate(scored)
    ]
