"""The Hugging Face folder: weights, configuration, tokenizer and card."""

import json
from pathlib import Path
from typing import Any, Final

from safetensors.torch import save_file

from default_model.corpus import CorpusError
from default_model.evaluation import STORED_DTYPE, exported_network
from default_model.network import CONTEXT_TOKENS
from default_model.vocabulary import BOS, load_vocabulary

MOST_WEIGHT_BYTES: Final = 12_000_000
_TIED: Final = "lm_head.weight"


def export(work: Path, folder: Path) -> None:
    """Writes the last checkpoint, which `evaluate` must have measured."""
    network, place = exported_network(work)
    evaluation = _json(work / "evaluation.json", "evaluate")
    if evaluation["step"] != place["step"]:
        raise CorpusError(
            f"evaluation.json is of step {evaluation['step']} and the checkpoint of step {place['step']}: "
            "run the stage `evaluate` again"
        )
    folder.mkdir(parents=True, exist_ok=True)
    weights = {
        name: weight.to(STORED_DTYPE).contiguous() for name, weight in network.state_dict().items() if name != _TIED
    }
    file = folder / "model.safetensors"
    save_file(weights, file, metadata={"format": "pt"})
    file.chmod(0o644)
    size = file.stat().st_size
    if size > MOST_WEIGHT_BYTES:
        raise CorpusError(f"model.safetensors has {size:,} bytes, more than {MOST_WEIGHT_BYTES:,}")
    configuration = network.config.to_diff_dict() | {
        "architectures": ["LlamaForCausalLM"],
        "dtype": "float32",
        "torch_dtype": "float32",
    }
    _write_json(folder / "config.json", configuration)
    load_vocabulary(work).save(str(folder / "tokenizer.json"))
    _write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": BOS,
            "eos_token": BOS,
            "pad_token": BOS,
            "model_max_length": CONTEXT_TOKENS,
            "clean_up_tokenization_spaces": False,
        },
    )
    (folder / "README.md").write_text(card(evaluation, configuration, _json(work / "sources.json", "data"), size))


def card(evaluation: dict[str, Any], configuration: dict[str, Any], sources: list[dict[str, Any]], size: int) -> str:
    """The model card."""
    by_source = evaluation["by_source"]
    rows = [
        f"| {each['about']} | `{each['package']}` {each['version']} | {each['licence']} | {each['bytes']:,} | "
        f"{each['weight']} | " + _measured(by_source.get(each["package"])) + " |"
        for each in sources
    ]
    orders = [
        f"| {each['sentence']} | {each['rank']} of {each['orders']} | {each['nats']:.1f} |"
        for each in evaluation["orders"]
    ]
    positions = ", ".join(f"{nats:.2f} at {span}" for span, nats in evaluation["nats_per_token_by_position"].items())
    return _CARD.format(
        parameters=evaluation["parameters"],
        layers=configuration["num_hidden_layers"],
        hidden=configuration["hidden_size"],
        heads=configuration["num_attention_heads"],
        vocabulary=configuration["vocab_size"],
        context=CONTEXT_TOKENS,
        size_mb=size / 1e6,
        bos=BOS,
        steps=evaluation["step"],
        tokens_m=evaluation["tokens"] / 1e6,
        minutes=evaluation["running_minutes"],
        total_mb=sum(each["bytes"] for each in sources) / 1e6,
        heldout_mb=evaluation["heldout_bytes"] / 1e6,
        bits=evaluation["bits_per_byte"],
        unigram_bits=evaluation["unigram_bits_per_byte"],
        positions=positions,
        sources="\n".join(rows),
        orders="\n".join(orders),
    )


def _measured(bits: dict[str, float] | None) -> str:
    return f"{bits['bits_per_byte']:.2f} / {bits['unigram_bits_per_byte']:.2f}" if bits else "none held out"


def _json(path: Path, stage: str) -> Any:
    if not path.is_file():
        raise CorpusError(f"{path} is missing: run the stage `{stage}` first")
    return json.loads(path.read_text())


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n")


_CARD: Final = """\
---
language: en
license: apache-2.0
library_name: transformers
pipeline_tag: text-generation
---

# Default text model

A causal language model of {parameters:,} parameters for English text: large enough to tell usual from unusual wording
and word order, small enough to ship inside the service. It was trained by this project from random weights, on one
processor core; no other model was used.

| | |
|---|---|
| architecture | Llama, {layers} layers, width {hidden}, {heads} heads, input and output embeddings tied |
| vocabulary | {vocabulary:,} byte-level BPE tokens; any Unicode text round-trips |
| context | {context} tokens |
| file | {size_mb:.1f} MB, float16; computed in float32, as `config.json` says |
| training | {steps:,} steps, {tokens_m:.1f} million tokens, {minutes:.0f} minutes of one core |
| optimizer | Muon inside the layers, AdamW for embeddings and norms; warm-up, then cosine to a hundredth |
| rows | 65 % of the tokens in rows of 256, 25 % of 512, 10 % of 2048 |

The tokenizer puts `{bos}` before a text, so that its first word is scored as well. In training the same token
separates texts.

## Measured

On {heldout_mb:.2f} MB of documents held out of training: **{bits:.3f} bits per byte**; the same tokenizer's unigram
frequencies reach {unigram_bits:.3f}. Nats per token by position in full contexts:
{positions}.

Rank of a sentence among the orders of its words (all orders, or 120 where there are more), by total nats given
`{bos}`; 1 is the most probable:

| sentence | rank | nats |
|---|---|---|
{orders}

## Sources

{total_mb:.1f} MB of prose from Debian packages. Code listings, tables and repeated paragraphs were removed, quotation
marks straightened, and white space reduced to single spaces and newlines. "Times" says how often an epoch repeats a
source; the last column holds bits per byte of the model and of the unigram frequencies on held-out documents.

| text | package | licence | bytes | times | bits |
|---|---|---|---|---|---|
{sources}

The weights are under the licence of this project, Apache-2.0.

## Not good for

- Facts, answers, translation or code: the model is far too small to know or to reason.
- Writing text for people: what it generates is grammatical in places and meaningless as a whole.
- Languages other than English, and layouts such as code, tables or indented text: their bytes are scored, but the
  model has seen next to none of them.
- Rating people's writing. It knows 19th-century novels, Bible prose, a dictionary and software manuals, finds other
  styles less probable for that reason alone, and carries the attitudes of its old sources.
- Comparisons with the perplexity of models that have another tokenizer; compare bits per byte.

`tools/train_default_model.py` makes it anew.
"""
