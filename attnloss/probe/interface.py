"""The probing attention, registered in transformers and switched on in a model."""

from typing import Any

from torch import nn

from attnloss.probe.errors import ProbeError

ATTENTION = "attnloss"
"""Name of the attention in transformers' attention and mask interfaces."""


def install(model: nn.Module) -> None:
    """Switch the model to the probing attention for good; outside of a probe it attends as with sdpa.

    Registers "attnloss" in the attention interface and in that of masks: without the second one transformers
    would silently make no masks. Raises ProbeError for a model that does not go through the interface, or
    that has attention sinks.
    """
    register()
    name = type(model).__name__
    if not hasattr(model, "set_attn_implementation"):
        raise ProbeError(f"{name} is not a transformers model: it has no attention interface to go through")
    for part in model.modules():
        can_set = getattr(part, "_can_set_attn_implementation", None)
        if can_set is not None and not can_set():
            kind = type(part).__name__
            raise ProbeError(f"{kind} does not attend through transformers' attention interface and cannot be probed")
    if any(isinstance(getattr(module, "sinks", None), nn.Parameter) for module in model.modules()):
        raise ProbeError("attention sinks as in gpt-oss are not supported")
    switch: Any = model
    switch.set_attn_implementation(ATTENTION)
    for config in configs(model):  # layers may hold a config that their model no longer knows
        config._attn_implementation_internal = ATTENTION


def register() -> None:
    """Register the attention and its masks, again if someone took them out."""
    from transformers import AttentionInterface, AttentionMaskInterface

    from attnloss.probe.attend import attend
    from attnloss.probe.masks import make_mask

    AttentionInterface.register(ATTENTION, attend)
    AttentionMaskInterface.register(ATTENTION, make_mask)


def check_registered() -> None:
    """Check that transformers will ask this package for masks; without them every query would see padding."""
    from transformers import AttentionMaskInterface

    from attnloss.probe.masks import make_mask

    if AttentionMaskInterface._global_mapping.get(ATTENTION) is not make_mask:
        raise ProbeError(f"{ATTENTION!r} is missing in transformers' AttentionMaskInterface: masks would be dropped")


def installed(model: nn.Module) -> bool:
    """Whether every part of the model uses the probing attention already."""
    return all(implementation(config) == ATTENTION for config in configs(model))


def configs(model: nn.Module) -> list[Any]:
    """Every config of the model and of its parts, each once."""
    held = (getattr(module, "config", None) for module in model.modules())
    waiting: list[Any] = [config for config in held if hasattr(config, "_attn_implementation_internal")]
    found: dict[int, Any] = {}
    while waiting:
        config = waiting.pop()
        if id(config) not in found:
            found[id(config)] = config
            waiting += [part for key in config.sub_configs if (part := getattr(config, key, None)) is not None]
    return list(found.values())


def implementation(config: Any) -> str | None:
    """Name of the attention that a config asks for."""
    name: str | None = config._attn_implementation_internal
    return name


def restore(former: list[tuple[Any, str | None]]) -> None:
    """Give configs their former attention back."""
    for config, name in former:
        config._attn_implementation_internal = name
