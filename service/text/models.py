"""A loaded text model: weights, tokenizer, and what was measured of it before it served."""

from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

import attnloss
from service.text.errors import ModelUnusable
from service.text.pieces import Pieces

Kind = Literal["causal", "encoder", "encoder-decoder"]
Layout = Literal["packed", "padded", "single"]

DEFAULT_FOLDER = Path(__file__).parents[1] / "models" / "default"


@dataclass(frozen=True)
class TextModel:
    """What text jobs are computed with.

    `layout` says how several sequences share a forward: packed one behind another, padded to the longest, or not at
    all; it is the first of these whose hidden states were those of single forwards. `projects` is whether the logits
    are hidden states times the output matrix and nothing more, so that token losses need no tokens × vocabulary.
    """

    name: str
    kind: Kind
    network: Any
    tokenizer: Any
    context: int | None
    layers: dict[str, int]
    heads: dict[str, int]
    device: torch.device
    layout: Layout
    projects: bool
    revision: str | None

    @property
    def site(self) -> str:
        """Where the model attends that says most of it: from the decoder to the encoder where it has both."""
        return "cross" if self.kind == "encoder-decoder" else next(iter(self.layers))

    @property
    def bos(self) -> int | None:
        """The token that stands before a text where its own tokenizer puts none."""
        begins: int | None = self.tokenizer.bos_token_id
        ends: int | None = self.tokenizer.eos_token_id
        return ends if begins is None else begins

    @property
    def pad(self) -> int:
        """An id for places that nothing looks at."""
        return int(self.tokenizer.pad_token_id or 0)

    @property
    def body(self) -> nn.Module:
        """What is called: the network without its head where that is put on afterwards."""
        return body_of(self.network, self.kind)

    @property
    def head(self) -> tuple[Tensor, Tensor | None]:
        """The output matrix [V, d] and its bias."""
        projection = self.network.get_output_embeddings()
        return projection.weight, getattr(projection, "bias", None)

    @property
    def vocabulary(self) -> int:
        """Ids that the network takes, of which the tokenizer may use fewer."""
        return int(self.network.get_input_embeddings().weight.shape[0])

    @cached_property
    def pieces(self) -> Pieces:
        """The strings of the tokens."""
        return Pieces(self.tokenizer)

    def public(self) -> dict[str, Any]:
        """The entry of GET /models."""
        config = self.network.config
        return {
            "architecture": type(self.network).__name__,
            "kind": self.kind,
            "layers": self.layers[self.site],
            "heads": self.heads[self.site],
            "sites": {site: {"layers": count, "heads": self.heads[site]} for site, count in self.layers.items()},
            "context_length": self.context,
            "vocabulary": config.vocab_size,
            "parameters": sum(weight.numel() for weight in self.network.parameters()),
            "dtype": str(next(self.network.parameters()).dtype).removeprefix("torch."),
            "device": str(self.device),
            "revision": self.revision,
            "layout": self.layout,
        }


def body_of(network: Any, kind: Kind) -> nn.Module:
    """The network without its head; of an encoder-decoder all of it, since heads differ in what they do before."""
    module: nn.Module = network if kind == "encoder-decoder" else network.base_model
    return module


def load(name: str, source: str, dtype: str, device: torch.device) -> TextModel:
    """Read a model and prove how it may be batched. Raises ModelUnusable."""
    import transformers
    from transformers.utils import logging

    from attnloss.probe import heads_of, install, sites

    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    where = str(DEFAULT_FOLDER) if source == "default" else str(Path(source).expanduser())
    try:
        config = transformers.AutoConfig.from_pretrained(where, trust_remote_code=False)
        tokenizer = transformers.AutoTokenizer.from_pretrained(where, trust_remote_code=False)
        kind = _kind(config)
        network = _weights(kind, where, dtype).to(device).eval()
    except (OSError, ValueError, KeyError, ImportError) as error:
        unreachable = isinstance(error, OSError) and not Path(where).exists()
        raise ModelUnusable(_first_line(error), passing=unreachable) from None
    if not tokenizer.is_fast:
        raise ModelUnusable("it has no fast tokenizer, without which tokens have no offsets")
    network.requires_grad_(False)
    from service.text.trial import Trial

    trial = Trial(network, kind, tokenizer, device)
    truth = trial.hidden_states()
    try:
        install(network)
    except ValueError as error:
        raise ModelUnusable(str(error)) from None
    counts = sites(network)
    return TextModel(
        name=name,
        kind=kind,
        network=network,
        tokenizer=tokenizer,
        context=_context(network, tokenizer),
        layers=counts,
        heads={site: heads_of(network, site) for site in counts},
        device=device,
        layout="single" if _stretches(config) else trial.layout(truth),
        projects=kind == "causal" and trial.projects(),
        revision=f"attnloss {attnloss.__version__}" if source == "default" else getattr(config, "_commit_hash", None),
    )


def _kind(config: Any) -> Kind:
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    )

    if config.is_encoder_decoder:
        return "encoder-decoder"
    architecture: str = (config.architectures or [""])[0]
    if architecture.endswith(("ForCausalLM", "LMHeadModel")):
        return "causal"
    masked = config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES
    return "causal" if config.model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and not masked else "encoder"


def _weights(kind: Kind, where: str, dtype: str) -> Any:
    import transformers

    classes: dict[Kind, Any] = {
        "causal": transformers.AutoModelForCausalLM,
        "encoder": transformers.AutoModel,
        "encoder-decoder": transformers.AutoModelForSeq2SeqLM,
    }
    options = {"dtype": getattr(torch, dtype), "trust_remote_code": False, "use_safetensors": True}
    read = partial(classes[kind].from_pretrained, where, output_loading_info=True, **options)
    try:
        network, told = read(attn_implementation="sdpa")
    except ValueError as error:
        if "scaled_dot_product_attention" not in str(error):
            raise
        network, told = read(attn_implementation="eager")  # Gemma 2 caps its scores, which sdpa cannot
    missing = sorted(key for key in told["missing_keys"] if "pooler" not in key)
    if missing:
        raise ModelUnusable(f"the weights lack {missing[0]}" + (f" and {len(missing) - 1} more" * (len(missing) > 1)))
    return network


def _stretches(config: Any) -> bool:
    """Whether position frequencies depend on the longest sequence of a forward."""
    rope = getattr(config.get_text_config(decoder=True), "rope_parameters", None)
    kinds = [rope] if isinstance(rope, dict) and "rope_type" in rope else list((rope or {}).values())
    return any(isinstance(each, dict) and each.get("rope_type") in ("dynamic", "longrope") for each in kinds)


def _context(network: Any, tokenizer: Any) -> int | None:
    """The longest sequence in tokens, or None where positions have no end."""
    config = network.config.get_text_config(decoder=True)
    places = getattr(config, "max_position_embeddings", None)
    if places is not None:
        reserved = [
            module.padding_idx + 1  # RoBERTa and its kin count positions from there
            for name, module in network.named_modules()
            if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None
        ]
        places -= max(reserved, default=0)
    limits = [limit for limit in (places, tokenizer.model_max_length) if limit is not None and limit < 1 << 30]
    return min(limits, default=None)


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
