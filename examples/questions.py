"""What a trained translator of `examples.translate` is asked: its loss, its translations, where it attends."""

import statistics
from collections import Counter
from collections.abc import Sequence
from math import log
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from sacrebleu import BLEU, CHRF
from torch import Tensor

from attnloss import attention, language
from docs.plots.canvas import COLOURS, heat_map
from examples.corpus import Batch, Corpus, Item
from examples.encoder_decoder import END, PAD, Map, Translator
from examples.study import rounded

SHOWN = 13
"""Source tokens of the list whose map is drawn."""
LABEL = 11
"""Letters of a token that are drawn."""


def token_loss(model: Translator, states: Tensor, batch: Batch, **options: Any) -> Tensor:
    """Cross-entropy of the target's tokens, in nats."""
    return language.cross_entropy(
        states.flatten(0, 1), model.table.weight, batch.target.flatten(), ignore_index=PAD, **options
    )


def in_batches(items: Sequence[Item], size: int = 100) -> list[Batch]:
    """All items, those of like length together."""
    ordered = sorted(items, key=lambda item: (len(item.source), len(item.target)))
    return [Batch.of(ordered[start : start + size]) for start in range(0, len(ordered), size)]


@torch.no_grad()
def nats(model: Translator, batches: Sequence[Batch]) -> float:
    """The loss of a token."""
    total = sum(
        token_loss(model, model(batch.source, batch.target)[0], batch, reduction="sum").item() for batch in batches
    )
    return total / sum(int(batch.lengths["query_lengths"].sum()) for batch in batches)


def weights_of(seen: Map, batch: Batch) -> Tensor:
    """Weights of each head, and behind them their mean."""
    weights = attention(seen.query, seen.key, returns=["weights"], **batch.lengths).weights
    return torch.cat([weights, weights.mean(1, keepdim=True)], 1)


@torch.no_grad()
def errors(model: Translator, batches: Sequence[Batch]) -> Tensor:
    """The alignment error of each layer, moment (predicted, read) and head."""
    wrong, asked = torch.tensor(0.0), 0
    for batch in batches:
        _, maps = model(batch.source, batch.target)
        weights = torch.stack([weights_of(seen, batch) for seen in maps])
        strongest = torch.stack([weights, weights.roll(-1, -2)], 1).argmax(-1)
        entries = batch.source_entry[:, None].expand(*strongest.shape[:-1], -1).gather(-1, strongest)
        owned = batch.target_entry >= 0
        wrong = wrong + ((entries != batch.target_entry[:, None]) & owned[:, None]).sum((2, 4))
        asked += int(owned.sum())
    return wrong / asked


def unigram_nats(corpus: Corpus, batches: Sequence[Batch]) -> float:
    """The loss of a token of one who knows nothing but how often each is in training."""
    known = Counter(token for entry in corpus.entries["training"] for token in [*entry.target, END])
    asked = [token for batch in batches for token in batch.target.flatten().tolist() if token != PAD]
    total = known.total() + corpus.tokenizer.get_vocab_size()
    return statistics.fmean(-log((known[token] + 1) / total) for token in asked)


def translations(model: Translator, corpus: Corpus, batches: Sequence[Batch]) -> dict[str, Any]:
    """Compute chrF and BLEU of the greedy translations."""
    made = [corpus.text(ids) for batch in batches for ids in model.translate(batch.source)]
    wanted = [
        corpus.text(token for token in row if token not in (PAD, END)) for b in batches for row in b.target.tolist()
    ]
    chrf, bleu = CHRF(), BLEU(force=True)  # the texts are in tokens, and meant to be
    scores = {"chrF": chrf.corpus_score(made, [wanted]).score, "BLEU": bleu.corpus_score(made, [wanted]).score}
    signatures = {"chrF": str(chrf.get_signature()), "BLEU": str(bleu.get_signature())}
    return scores | {
        "signatures": signatures,
        "translated": [list(pair) for pair in zip(made, wanted, strict=True)][::200],
    }


@torch.no_grad()
def map_of(model: Translator, corpus: Corpus, items: Sequence[Item], reading: Sequence[int]) -> dict[str, Any]:
    """One list backwards with the weights of the head that is read."""
    layer, moment, head = reading
    item = min(items, key=lambda each: (abs(len(each.source) - SHOWN), len(each.target)))
    batch = Batch.of([item])
    weights = weights_of(model(batch.source, batch.target)[1][layer], batch)[0, head].roll(-moment, 0)
    return {
        "source": corpus.pieces(item.source),
        "target": corpus.pieces(item.target),
        "weights": rounded(weights.tolist(), 2),
    }


def draw_map(axes: Axes, seen: dict[str, Any], title: str) -> None:
    """A list backwards; the cells in which each entry's tokens should attend are framed."""
    source, target = seen["source"], seen["target"]
    heat_map(axes, torch.tensor(seen["weights"]), title=title, xlabel="", ylabel="")
    for side, ticks in ((source, axes.set_xticks), (target, axes.set_yticks)):
        names = [token[1:] if token.startswith("▁") else f"·{token}" for token in side[:-1]] + ["end"]
        short = [name if len(name) <= LABEL else f"{name[: LABEL - 1]}…" for name in names]
        ticks([place + 0.5 for place in range(len(side))], short, fontsize=6.5)
    axes.tick_params(axis="x", rotation=90)
    for (left, width), (top, height) in zip(_entries(source[1:], 1), reversed(_entries(target, 0)), strict=True):
        axes.add_patch(Rectangle((left, top), width, height, fill=False, edgecolor=COLOURS[1], linewidth=1.2))


def _entries(tokens: Sequence[str], start: int) -> list[tuple[int, int]]:
    """Where each entry of a list begins, and how many tokens it has."""
    found = []
    for place, token in enumerate(tokens, start):
        if token in ("▁,", "</s>"):
            found.append((start, place - start))
            start = place + 1
    return found
