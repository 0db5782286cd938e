"""Tokenizers and models of random weights, made here: no test downloads any."""

from functools import cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

CORPUS = ["I love programming. I love the emoji 👩‍👩‍👧, and so do you"] * 4


def wrapped(tokenizer: Tokenizer, **roles: str) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **roles)


@cache
def byte_level(trim: bool = False, begins: bool = True) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=500, special_tokens=["<s>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    template = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    steps = [processors.ByteLevel(trim_offsets=trim), *([template] if begins else [])]
    tokenizer.post_processor = processors.Sequence(steps)
    return wrapped(tokenizer, bos_token="<s>", eos_token="<s>", unk_token="<s>", model_max_length=8 if begins else 61)


@cache
def trimmed() -> PreTrainedTokenizerFast:
    return byte_level(trim=True)


@cache
def metaspace() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return wrapped(tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<unk>")


@cache
def word_piece() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    trainer = trainers.WordPieceTrainer(vocab_size=300, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    ends = [("[CLS]", 2), ("[SEP]", 3)]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    return wrapped(tokenizer, unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]")


@cache
def unigram() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    split, blanks = pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, blanks])
    special = ["<pad>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(vocab_size=60, special_tokens=special, unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return wrapped(tokenizer, unk_token="<unk>", eos_token="</s>", pad_token="<pad>")


def save_gpt2(folder: Path) -> Path:
    """No BOS of its own; learned positions."""
    tokenizer = byte_level(begins=False)
    config = GPT2Config(
        vocab_size=len(tokenizer), n_positions=61, n_embd=33, n_head=3, n_layer=2, initializer_range=0.3,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    return _saved(folder, GPT2LMHeadModel, config, tokenizer)


def save_llama(folder: Path, *, heads: int = 6, layers: int = 3) -> Path:
    """BOS, rotary positions, two key heads."""
    tokenizer = metaspace()
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=heads * 10, intermediate_size=37, num_hidden_layers=layers,
        num_attention_heads=heads, num_key_value_heads=2, max_position_embeddings=89, initializer_range=0.2,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=0,
    )  # fmt: skip
    return _saved(folder, LlamaForCausalLM, config, tokenizer)


def save_bert(folder: Path) -> Path:
    """An encoder, saved with the head that it was trained with."""
    tokenizer = word_piece()
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=35, num_hidden_layers=2, num_attention_heads=5, intermediate_size=41,
        max_position_embeddings=53, initializer_range=0.3,
    )  # fmt: skip
    return _saved(folder, BertForMaskedLM, config, tokenizer)


def save_t5(folder: Path) -> Path:
    """An encoder-decoder with biases of relative position."""
    tokenizer = unigram()
    config = T5Config(
        vocab_size=len(tokenizer), d_model=26, d_kv=7, d_ff=31, num_layers=2, num_decoder_layers=3, num_heads=4,
        pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    return _saved(folder, T5ForConditionalGeneration, config, tokenizer)


def _saved(folder: Path, network: Any, config: Any, tokenizer: PreTrainedTokenizerFast) -> Path:
    torch.manual_seed(0)
    network(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
