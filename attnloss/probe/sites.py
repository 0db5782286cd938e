"""Where a model attends: in its encoder, in its decoder, from the decoder to the encoder."""

from collections.abc import Collection, Mapping
from typing import Any, Literal, cast, get_args
from weakref import WeakKeyDictionary

from torch import nn

from attnloss.errors import FieldError
from attnloss.probe.errors import ProbeError

Site = Literal["encoder", "decoder", "cross"]

CROSS_NAMES = frozenset({"EncDecAttention", "encoder_attn", "crossattention", "cross_attn", "cross_attention"})

ATTENDING = frozenset({"full_attention", "sliding_attention", "chunked_attention"})
"""Layers of `config.layer_types` that go through the attention interface."""

DEPTHS: Mapping[Site, tuple[str, ...]] = {
    "encoder": ("encoder_layers", "num_encoder_layers", "num_layers", "num_hidden_layers"),
    "decoder": ("decoder_layers", "num_decoder_layers", "num_layers", "num_hidden_layers"),
    "cross": ("decoder_layers", "num_decoder_layers", "num_layers", "num_hidden_layers"),
}

HEADS: Mapping[Site, tuple[str, ...]] = {
    "encoder": ("encoder_attention_heads", "num_attention_heads"),
    "decoder": ("decoder_attention_heads", "num_attention_heads"),
    "cross": ("decoder_attention_heads", "num_attention_heads"),
}


_KNOWN: "WeakKeyDictionary[nn.Module, WeakKeyDictionary[nn.Module, Site]]" = WeakKeyDictionary()


def site_of(name: str, module: nn.Module, two_sided: bool) -> Site:
    """Tell the site of an attention module by its path in the model; `two_sided` is an encoder with a decoder."""
    path = name.split(".")
    if CROSS_NAMES.intersection(path) or getattr(module, "is_cross_attention", False) is True:
        return "cross"
    side = next((part for part in path if part in ("encoder", "decoder")), None)
    if two_sided and side is not None:
        return "encoder" if side == "encoder" else "decoder"
    return "decoder" if getattr(module, "is_causal", False) is True else "encoder"


def modules_by_site(model: nn.Module) -> Mapping[nn.Module, Site]:
    """Give every module the site it would attend at; only attention modules will ask. Remembered for each model."""
    if model not in _KNOWN:
        two_sided = bool(getattr(getattr(model, "config", None), "is_encoder_decoder", False))
        named = {module: site_of(name, module, two_sided) for name, module in model.named_modules()}
        _KNOWN[model] = WeakKeyDictionary(named)
    return _KNOWN[model]


def sites(model: nn.Module) -> dict[str, int]:
    """Count the attention layers per site, as {"decoder": 12} or {"encoder": 6, "decoder": 6, "cross": 6}."""
    configs = _configs(model)
    return {site: _depth(configs[site], site) for site in get_args(Site) if site in configs}


def heads_of(model: nn.Module, site: str) -> int:
    """Count the query heads at a site. Raises FieldError for a site that the model does not have."""
    configs = _configs(model)
    checked = check_site(site, configs)
    return _number(configs[checked], HEADS[checked], "attention heads")


def check_site(site: str | None, known: Collection[str]) -> Site:
    """Check a site, or choose: cross of an encoder-decoder, else the decoder, else the encoder."""
    if site is None:
        site = "cross" if len(known) == len(get_args(Site)) else "decoder" if "decoder" in known else next(iter(known))
    if site in known:
        return cast("Site", site)
    raise FieldError("site", (), f"site must be one of {', '.join(known)}, where this model attends; got {site!r}")


def _configs(model: nn.Module) -> dict[Site, Any]:
    """Give the config of the modules that attend at each site."""
    found: dict[Site, Any] = {}
    whole: Any = getattr(model, "config", None)
    if whole is None:
        raise ProbeError(f"{type(model).__name__} is not a transformers model: it has no config")
    for module, site in modules_by_site(model).items():
        if isinstance(getattr(module, "is_causal", None), bool):
            found.setdefault(site, getattr(module, "config", None) or _text(whole))
    return found or {"decoder" if getattr(whole, "is_decoder", False) else "encoder": _text(whole)}


def _number(config: Any, names: tuple[str, ...], what: str) -> int:
    """Read a count that configs call by several names."""
    counts = [count for name in names if isinstance(count := getattr(config, name, None), int)]
    if not counts:
        raise ProbeError(f"{type(config).__name__} does not tell its number of {what}: none of {', '.join(names)}")
    return counts[0]


def _text(config: Any) -> Any:
    return config.get_text_config() if hasattr(config, "get_text_config") else config


def _depth(config: Any, site: Site) -> int:
    depth = _number(config, DEPTHS[site], "layers")
    kinds = getattr(config, "layer_types", None)
    return sum(kind in ATTENDING for kind in kinds) if kinds and len(kinds) == depth else depth
