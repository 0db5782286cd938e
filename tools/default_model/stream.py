"""Token streams for training: weighted, shuffled, and cut into rows of mixed length."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from tokenizers import Tokenizer

from default_model.corpus import read_documents
from default_model.sources import SOURCES
from default_model.vocabulary import bos_id

BATCH_TOKENS: Final = 4096
ROW_TOKENS: Final = (256, 512, 2048)
ROW_SHARES: Final = (0.65, 0.25, 0.10)
_RESTART_SHARE: Final = 0.25
_IGNORED: Final = -100


@dataclass(frozen=True, slots=True)
class Tokens:
    """Token ids of all documents in a row; document k spans `ends[k-1]` to `ends[k]`, each begun by BOS."""

    ids: NDArray[np.uint16]
    ends: NDArray[np.int64]
    weights: NDArray[np.int64]
    bos: int
    newline: int

    @classmethod
    def of_file(cls, path: Path, tokenizer: Tokenizer) -> Self:
        """Encodes documents, or reads the encoding kept beside them."""
        cache = path.with_suffix(".npz")
        bos, newline = bos_id(tokenizer), tokenizer.encode("\n", add_special_tokens=False).ids[0]
        newest = max(each.stat().st_mtime for each in (path, path.with_name("tokenizer.json")))
        if not cache.is_file() or cache.stat().st_mtime < newest:
            weight_of = {source.package: source.weight for source in SOURCES}
            parts, ends, weights, end = [], [], [], 0
            for document in track(list(read_documents(path)), f"encoding {path.name}"):
                ids = tokenizer.encode(document.text).ids
                end += len(ids)
                parts.append(np.asarray(ids, np.uint16))
                ends.append(end)
                weights.append(weight_of[document.source])
            np.savez(cache, ids=np.concatenate(parts), ends=np.asarray(ends), weights=np.asarray(weights))
        with np.load(cache) as kept:
            return cls(kept["ids"], kept["ends"], kept["weights"], bos, newline)

    def epoch(self, seed: int, number: int) -> NDArray[np.uint16]:
        """All documents in a new order, `weights` times each; a share of paragraphs begins a text of its own."""
        random = np.random.default_rng((seed, number))
        order = random.permutation(np.repeat(np.arange(len(self.ends)), self.weights))
        begins = np.concatenate([[0], self.ends[:-1]])
        stream = np.concatenate([self.ids[begins[k] : self.ends[k]] for k in order])
        restarts = (stream == self.newline) & (random.random(len(stream), dtype=np.float32) < _RESTART_SHARE)
        stream[restarts] = self.bos
        return stream


class Batches:
    """Batches of `BATCH_TOKENS` tokens; `epoch_number` and `cursor` restore the place after a restart."""

    def __init__(self, tokens: Tokens, seed: int, epoch_number: int = 0, cursor: int = 0) -> None:
        self.epoch_number, self.cursor = epoch_number, cursor
        self._tokens, self._seed = tokens, seed
        self._stream = tokens.epoch(seed, epoch_number)

    def take(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs and targets of one step.

        Every row begins with BOS; where it stands in the middle of a text, the first target is ignored.
        """
        random = np.random.default_rng((self._seed, step, 1))
        row_tokens = int(random.choice(ROW_TOKENS, p=ROW_SHARES))
        if self.cursor + BATCH_TOKENS + 1 > len(self._stream):
            self.epoch_number, self.cursor = self.epoch_number + 1, 0
            self._stream = self._tokens.epoch(self._seed, self.epoch_number)
        block = self._stream[self.cursor : self.cursor + BATCH_TOKENS].astype(np.int64).reshape(-1, row_tokens)
        self.cursor += BATCH_TOKENS
        inputs, targets = np.roll(block, 1, axis=1), block.copy()
        before = np.concatenate([[self._tokens.bos], block[:-1, -1]])
        targets[before != self._tokens.bos, 0] = _IGNORED
        inputs[:, 0] = self._tokens.bos
        return torch.from_numpy(inputs), torch.from_numpy(targets)
