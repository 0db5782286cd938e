"""Tiny transformers with random weights, large enough that their attention is far from even."""

from collections.abc import Callable
from typing import Any

import torch
import transformers
from torch import Tensor

VOCABULARY = 53

SMALL: dict[str, Any] = {"vocab_size": VOCABULARY, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
GROUPED = SMALL | {
    "hidden_size": 24,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 10,
    "num_hidden_layers": 3,
    "intermediate_size": 31,
    "initializer_range": 0.4,
}
BERT = SMALL | {
    "hidden_size": 15,
    "num_attention_heads": 3,
    "num_hidden_layers": 2,
    "intermediate_size": 31,
    "initializer_range": 0.4,
}
T5 = SMALL | {"d_model": 14, "d_kv": 5, "num_heads": 3, "num_layers": 2, "num_decoder_layers": 3, "d_ff": 31}
BART = SMALL | {
    "d_model": 12,
    "encoder_layers": 2,
    "decoder_layers": 3,
    "encoder_attention_heads": 3,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 17,
    "decoder_ffn_dim": 13,
    "init_std": 0.8,
    "decoder_start_token_id": 2,
}


def gpt2(**changes: Any) -> transformers.PreTrainedModel:
    settings = {"n_embd": 15, "n_head": 3, "n_layer": 3, "n_positions": 64, "initializer_range": 0.4}
    return _made(transformers.GPT2LMHeadModel, transformers.GPT2Config(**SMALL | settings | changes))


def llama(**changes: Any) -> transformers.PreTrainedModel:
    return _made(transformers.LlamaForCausalLM, transformers.LlamaConfig(**GROUPED | changes))


def mistral(**changes: Any) -> transformers.PreTrainedModel:
    settings = GROUPED | {"sliding_window": 3} | changes
    return _made(transformers.MistralForCausalLM, transformers.MistralConfig(**settings))


def gemma2(**changes: Any) -> transformers.PreTrainedModel:
    settings = GROUPED | {"sliding_window": 3, "attn_logit_softcapping": 2.0, "query_pre_attn_scalar": 5} | changes
    return _made(transformers.Gemma2ForCausalLM, transformers.Gemma2Config(**settings))


def bert(**changes: Any) -> transformers.PreTrainedModel:
    return _made(transformers.BertModel, transformers.BertConfig(**BERT | changes))


def albert(**changes: Any) -> transformers.PreTrainedModel:
    return _made(transformers.AlbertModel, transformers.AlbertConfig(**BERT | {"embedding_size": 7} | changes))


def t5(**changes: Any) -> transformers.PreTrainedModel:
    return _made(transformers.T5ForConditionalGeneration, transformers.T5Config(**T5 | changes))


def bart(**changes: Any) -> transformers.PreTrainedModel:
    return _made(transformers.BartForConditionalGeneration, transformers.BartConfig(**BART | changes))


def llama4(**changes: Any) -> transformers.PreTrainedModel:
    settings = GROUPED | {"attention_chunk_size": 4, "num_local_experts": 2, "intermediate_size_mlp": 7} | changes
    return _made(transformers.Llama4ForCausalLM, transformers.Llama4TextConfig(**settings))


DECODERS: dict[str, Callable[..., transformers.PreTrainedModel]] = {
    "gpt2": gpt2,
    "llama": llama,
    "mistral": mistral,
    "gemma2": gemma2,
}
ENCODERS: dict[str, Callable[..., transformers.PreTrainedModel]] = {"bert": bert, "albert": albert}
PAIRS: dict[str, Callable[..., transformers.PreTrainedModel]] = {"t5": t5, "bart": bart}
MODELS = DECODERS | ENCODERS | PAIRS | {"llama4": llama4}
PLACES = [
    *((name, "decoder") for name in DECODERS),
    *((name, "encoder") for name in ENCODERS),
    *((name, site) for name in PAIRS for site in ("encoder", "decoder", "cross")),
]


def texts(batch: int, length: int) -> Tensor:
    return torch.randint(3, VOCABULARY, (batch, length))


def inputs(name: str, batch: int = 2) -> dict[str, Tensor]:
    """Texts of 11 tokens, for an encoder-decoder with 7 on the other side."""
    given = {"input_ids": texts(batch, 11)}
    return given | {"decoder_input_ids": texts(batch, 7)} if name in PAIRS else given


def eager_maps(model: transformers.PreTrainedModel, site: str, **given: Any) -> tuple[Any, list[Tensor]]:
    """Run a model as transformers' eager attention does, and give its answer and the maps of a site."""
    former = model.config._attn_implementation
    model.set_attn_implementation("eager")
    answer = model(**given, output_attentions=True)
    model.set_attn_implementation(former)
    names = {"encoder": "encoder_attentions", "decoder": "decoder_attentions", "cross": "cross_attentions"}
    maps = answer[names[site]] if names[site] in answer else answer["attentions"]
    return answer, list(maps)


def _made(kind: Any, config: Any) -> transformers.PreTrainedModel:
    model = kind(config)
    if isinstance(model, transformers.T5ForConditionalGeneration):
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if name.endswith((".k.weight", "relative_attention_bias.weight")):
                    weight.normal_()
    return model.eval()
