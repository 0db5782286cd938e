"""Held-out bits per byte, order ranks of sentences, and what context is worth, for the weights as exported."""

import itertools
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from rich.progress import track
from tokenizers import Tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

from default_model.corpus import Document, read_documents
from default_model.network import CONTEXT_TOKENS
from default_model.stream import Tokens
from default_model.training import load_checkpoint
from default_model.vocabulary import bos_id, load_vocabulary

STORED_DTYPE: Final = torch.float16
SENTENCES: Final = (
    "I love programming",
    "The cat sat on the mat",
    "He wanted to go home",
    "What is your name?",
    "It was a cold winter morning",
    "She opened the door and walked in",
    "The dog ran across the road",
    "This is a very good idea",
    "We had dinner together last night",
    "You can use this function to read a file",
    "Birds fly and fish swim",
    "My brother plays the guitar every day",
)
_MOST_ORDERS: Final = 120
_PUBLIC_DOMAIN: Final = ("r-cran-janeaustenr", "sword-text-web", "sqlite3-doc")
_SAMPLE_CHARACTERS: Final = 15_000
_ROWS_TOKENS: Final = 4096
_SPANS: Final = ((1, 64), (64, 256), (256, 512), (512, 1024), (1024, 2048))
Encoded = tuple[Document, list[int]]


def exported_network(work: Path) -> tuple[LlamaForCausalLM, dict[str, Any]]:
    """The checkpoint's network in float32 after rounding to the stored precision, and its place in training."""
    state = load_checkpoint(work)
    network = LlamaForCausalLM(LlamaConfig(**state["config"]))
    network.load_state_dict({name: weight.to(STORED_DTYPE).float() for name, weight in state["network"].items()})
    return network.train(False), state["place"]


def evaluate(work: Path, threads: int) -> dict[str, Any]:
    """Measures the last checkpoint and writes `evaluation.json`."""
    torch.set_num_threads(threads)
    tokenizer = load_vocabulary(work)
    network, place = exported_network(work)
    result: dict[str, Any] = {
        "step": place["step"],
        "tokens": place["tokens"],
        "running_minutes": place["running_s"] / 60,
        "parameters": sum(weight.numel() for weight in network.parameters()),
        "orders": [order_rank(network, tokenizer, sentence) for sentence in SENTENCES],
        **_held_out(network, tokenizer, work),
    }
    (work / "evaluation.json").write_text(json.dumps(result, indent=1) + "\n")
    return result


@torch.no_grad()
def nats_per_token(network: LlamaForCausalLM, rows: Sequence[Sequence[int]]) -> list[NDArray[np.float32]]:
    """Nats of every token after the first, for rows of token ids of any lengths."""
    length = max(map(len, rows))
    ids = torch.zeros(len(rows), length, dtype=torch.long)
    for k, row in enumerate(rows):
        ids[k, : len(row)] = torch.as_tensor(row)
    logits = network(input_ids=ids[:, :-1], use_cache=False).logits.float()
    nats = F.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none").numpy()
    return [nats[k, : len(row) - 1] for k, row in enumerate(rows)]


def order_rank(network: LlamaForCausalLM, tokenizer: Tokenizer, sentence: str) -> dict[str, Any]:
    """Rank of the sentence among orders of its words: all of them, or a fixed random choice where they are many."""
    words = sentence.split()
    if math.factorial(len(words)) <= _MOST_ORDERS:
        orders = {" ".join(order) for order in itertools.permutations(words)}
    else:
        random = np.random.default_rng(0)
        orders = {" ".join(random.permutation(words)) for _ in range(_MOST_ORDERS - 1)}
    texts = [sentence, *sorted(orders - {sentence})]
    totals = [float(nats.sum()) for nats in nats_per_token(network, [tokenizer.encode(text).ids for text in texts])]
    best = int(np.argmin(totals))
    return {
        "sentence": sentence,
        "rank": 1 + sum(total < totals[0] for total in totals[1:]),
        "orders": len(texts),
        "nats": totals[0],
        "best_order": texts[best],
        "best_nats": totals[best],
    }


def _held_out(network: LlamaForCausalLM, tokenizer: Tokenizer, work: Path) -> dict[str, Any]:
    training = Tokens.of_file(work / "train.jsonl", tokenizer)
    counts = np.bincount(training.ids, minlength=tokenizer.get_vocab_size()).astype(np.float64) + 1
    counts[bos_id(tokenizer)] = 0  # a scored text holds no BOS after its first
    with np.errstate(divide="ignore"):
        unigram_nats = -np.log(counts / counts.sum())
    documents = sorted(read_documents(work / "heldout.jsonl"), key=lambda each: len(each.text))
    sums: dict[str, NDArray[np.float64]] = {}
    spans = np.zeros((len(_SPANS), 2))
    rows = [(document, tokenizer.encode(document.text).ids) for document in documents]
    for batch in track(list(_batched(rows)), "scoring held-out text"):
        windows = [(document, window) for document, ids in batch for window in _windows(ids)]
        for (document, window), nats in zip(
            windows, nats_per_token(network, [window for _, window in windows]), strict=True
        ):
            total = sums.setdefault(document.source, np.zeros(3))
            total[:2] += nats.sum(dtype=np.float64), unigram_nats[window[1:]].sum()
            if len(window) == CONTEXT_TOKENS:
                for k, (begin, end) in enumerate(_SPANS):
                    spans[k] += nats[begin - 1 : end - 1].sum(dtype=np.float64), len(nats[begin - 1 : end - 1])
        for document, _ in batch:
            sums[document.source][2] += len(document.text.encode())
    every = np.sum(list(sums.values()), axis=0)
    return {
        "heldout_bytes": int(every[2]),
        "bits_per_byte": _bits(every[0], every[2]),
        "unigram_bits_per_byte": _bits(every[1], every[2]),
        "by_source": {
            source: {"bits_per_byte": _bits(total[0], total[2]), "unigram_bits_per_byte": _bits(total[1], total[2])}
            for source, total in sorted(sums.items())
        },
        "nats_per_token_by_position": {
            f"{begin}-{end - 1}": nats / count
            for (begin, end), (nats, count) in zip(_SPANS, spans, strict=True)
            if count
        },
    }


def sample(work: Path, file: Path) -> None:
    """Writes the first held-out documents of each source that is in the public domain."""
    taken: dict[str, list[Document]] = {source: [] for source in _PUBLIC_DOMAIN}
    for document in read_documents(work / "heldout.jsonl"):
        texts = taken.get(document.source)
        if texts is not None and sum(len(each.text) for each in texts) < _SAMPLE_CHARACTERS:
            texts.append(document)
    documents = [{"source": each.source, "text": each.text} for texts in taken.values() for each in texts]
    file.write_text(json.dumps(documents, indent=1, ensure_ascii=False) + "\n")


def _bits(nats: float, n_bytes: float) -> float:
    return float(nats / math.log(2) / n_bytes)


def _windows(ids: list[int]) -> Iterator[list[int]]:
    """The ids after BOS in stretches of one context, each given BOS."""
    for begin in range(1, len(ids), CONTEXT_TOKENS - 1):
        yield [ids[0], *ids[begin : begin + CONTEXT_TOKENS - 1]]


def _batched(rows: list[Encoded]) -> Iterator[list[Encoded]]:
    """Rows of like length together, a bounded number of tokens at a time."""
    batch: list[Encoded] = []
    for row in rows:
        if batch and (len(batch) + 1) * max(len(row[1]), 1) > _ROWS_TOKENS:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch
