"""Tokens, word links and lists: what `examples.translate` trains on and asks.

A list is several short entries of the catalogues with commas between them: "chad , rare cause , second name". Which
entry a token of its translation belongs to is known for certain. Half of the lists are to be translated in order, half
backwards, which a mark at the source's start asks for. Words are linked by `examples.aligner`, within entries only; a
list has the links of its entries, and its commas and end are linked as well.
"""

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch import Tensor

from examples.aligner import align
from examples.catalogues import Pair, read
from examples.encoder_decoder import END, PAD

BACKWARDS = "⇄"
SPECIAL = ["<pad>", "<s>", "</s>", BACKWARDS]
NO_ENTRY = -1


@dataclass(frozen=True)
class Entry:
    """A pair in tokens, and for each token of the target its source token, −1 for none."""

    source: list[int]
    target: list[int]
    links: list[int]
    listed: bool
    """Whether it may stand in a list: three words at most, and no punctuation."""


@dataclass(frozen=True)
class Item:
    """What is translated: an entry or a list of them, with its end; and to which entry each token belongs."""

    source: list[int]
    target: list[int]
    links: list[int]
    source_entry: list[int]
    target_entry: list[int]


@dataclass(frozen=True)
class Batch:
    """Items beside each other, with padding."""

    source: Tensor
    target: Tensor
    links: Tensor
    source_entry: Tensor
    target_entry: Tensor

    @classmethod
    def of(cls, items: Sequence[Item]) -> "Batch":
        """Pad each field with what stands for nothing there."""
        fill = {"source": PAD, "target": PAD, "links": -1, "source_entry": NO_ENTRY, "target_entry": NO_ENTRY}
        return cls(**{name: _padded([getattr(item, name) for item in items], pad) for name, pad in fill.items()})

    @cached_property
    def lengths(self) -> dict[str, Tensor]:
        """As the losses take them."""
        return {"query_lengths": (self.target != PAD).sum(1), "key_lengths": (self.source != PAD).sum(1)}


def _padded(rows: Sequence[list[int]], fill: int) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=fill)


class Corpus:
    """The catalogues in tokens of byte-pair encoding, which like the links is learned from the training pairs alone."""

    def __init__(self, pairs: int, words: int) -> None:
        parts = read()
        parts["training"] = parts["training"][:pairs]
        self.pairs = parts
        self.tokenizer = Tokenizer(models.BPE())
        self.tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        trainer = trainers.BpeTrainer(vocab_size=words, special_tokens=SPECIAL, show_progress=False)
        self.tokenizer.train_from_iterator((side for p in parts["training"] for side in (p.source, p.target)), trainer)
        self.comma, self.backwards = self.ids(",")[0], self.tokenizer.token_to_id(BACKWARDS)
        self.entries = {part: self._entries(pairs, linked=part == "training") for part, pairs in parts.items()}

    def ids(self, text: str) -> list[int]:
        """Its tokens."""
        return list(self.tokenizer.encode(text).ids)

    def text(self, ids: Iterable[int]) -> str:
        """Words apart, as in the catalogues."""
        return "".join(self.pieces(ids)).replace("▁", " ").strip()

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """How tokens are written; ▁ begins a word."""
        return [self.tokenizer.id_to_token(each) for each in ids]

    def _entries(self, pairs: Sequence[Pair], *, linked: bool) -> list[Entry]:
        coded = [(self.ids(pair.source), self.ids(pair.target)) for pair in pairs]
        links = align(coded) if linked else [[-1] * len(target) for _, target in coded]
        return [
            Entry(source, target, of, _listed(pair))
            for pair, (source, target), of in zip(pairs, coded, links, strict=True)
        ]

    def join(self, entries: Sequence[Entry], *, backwards: bool = False) -> Item:
        """One entry as it is, or several as a list."""
        source, source_entry = ([self.backwards], [NO_ENTRY]) if backwards else ([], [])
        starts = []
        for number, entry in enumerate(entries):
            starts.append(len(source))
            last = number == len(entries) - 1
            source = [*source, *entry.source, END if last else self.comma]
            source_entry = [*source_entry, *[number] * len(entry.source), NO_ENTRY]
        target, target_entry, links = [], [], []
        order = list(range(len(entries)))[:: -1 if backwards else 1]
        for number in order:
            entry, last = entries[number], number == order[-1]
            target = [*target, *entry.target, END if last else self.comma]
            target_entry = [*target_entry, *[number] * len(entry.target), NO_ENTRY]
            comma = starts[number] - 1 if backwards else starts[number] + len(entry.source)
            links += [starts[number] + link if link >= 0 else -1 for link in entry.links]
            links.append(len(source) - 1 if last else comma)
        return Item(source, target, links, source_entry, target_entry)

    def lists(self, part: str, count: int, *, entries: tuple[int, int], backwards: bool, seed: int) -> list[Item]:
        """So many lists of a part, each of so many entries."""
        draw, usable = random.Random(f"{part} {seed}"), [entry for entry in self.entries[part] if entry.listed]
        return [self.join(draw.sample(usable, draw.randint(*entries)), backwards=backwards) for _ in range(count)]

    def batches(self, size: int, *, listed: float, seed: int) -> Iterator[Batch]:
        """Batches of training items without end, a share of them lists; those of like length together."""
        draw = random.Random(seed)
        usable = [entry for entry in self.entries["training"] if entry.listed]
        singles: list[Entry] = []
        while True:
            items = []
            for _ in range(16 * size):
                if draw.random() < listed:
                    some = draw.sample(usable, draw.randint(2, 5))
                    items.append(self.join(some, backwards=draw.random() < 0.5))
                    continue
                singles = singles or draw.sample(self.entries["training"], len(self.entries["training"]))
                items.append(self.join([singles.pop()]))
            items.sort(key=lambda item: len(item.target) + len(item.source))
            starts = list(range(0, len(items), size))
            draw.shuffle(starts)
            yield from (Batch.of(items[start : start + size]) for start in starts)


def _listed(pair: Pair) -> bool:
    sides = [side.split() for side in (pair.source, pair.target)]
    return all(len(side) <= 3 and all(word.isalpha() for word in side) for side in sides)
