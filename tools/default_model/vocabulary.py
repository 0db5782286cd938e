"""Byte-level BPE: every Unicode text round-trips, and a text's first word is scored given the BOS token."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from default_model.corpus import CorpusError, read_documents

BOS: Final = "<|text|>"
VOCABULARY_SIZE: Final = 6144
_WORDS: Final = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def train_vocabulary(work: Path, size: int) -> Tokenizer:
    """Learns merges from the training documents and writes `tokenizer.json`."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[BOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=True,
    )
    tokenizer.train_from_iterator(_texts(work / "train.jsonl"), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A {BOS} $B", special_tokens=[(BOS, bos_id(tokenizer))]
    )
    tokenizer.save(str(work / "tokenizer.json"))
    return tokenizer


def load_vocabulary(work: Path) -> Tokenizer:
    """The tokenizer that `train_vocabulary` wrote."""
    path = work / "tokenizer.json"
    if not path.is_file():
        raise CorpusError(f"{path} is missing: run the stage `tokenizer` first")
    return Tokenizer.from_file(str(path))


def bos_id(tokenizer: Tokenizer) -> int:
    """The id of the BOS token."""
    token_id = tokenizer.token_to_id(BOS)
    if token_id is None:
        raise CorpusError(f"tokenizer.json holds no token {BOS}: run the stage `tokenizer` again")
    return token_id


def _texts(path: Path) -> Iterator[str]:
    for document in read_documents(path):
        yield document.text
