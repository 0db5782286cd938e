"""One forward of a probed model, while it runs."""

import inspect
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from attnloss.probe.sequences import Sequences
from attnloss.probe.sites import Site
from attnloss.probe.state import Turn


@dataclass(eq=False)
class Forward:
    """What a forward was called with, and how many layers have attended at each site so far.

    `graph` says whether autograd records, `encoded` whether the encoder's outputs were given.
    """

    sequences: Sequences | None
    graph: bool
    encoded: bool
    masks: Mapping[str, Tensor | None]
    calls: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(
        cls, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], sequences: Sequences | None
    ) -> "Forward":
        """Read the arguments of the model."""
        given = _arguments(model, args, kwargs)
        texts = given.get("attention_mask")
        two_sided = "decoder_attention_mask" in inspect.signature(model.forward).parameters
        decoder = given.get("decoder_attention_mask") if two_sided else texts
        masks = {"encoder": _flat(texts), "decoder": _flat(decoder)}
        encoded = given.get("encoder_outputs") is not None
        return cls(sequences, torch.is_grad_enabled(), encoded, masks)

    def count(self, site: Site) -> int:
        """Count a layer, and give its number."""
        self.calls[site] += 1
        return self.calls[site] - 1

    def turn(self, site: Site, layer: int, chosen: bool, *, first: bool) -> Turn:
        """Describe the call of a layer."""
        mask = self.masks.get(site)
        return Turn(
            site=site,
            layer=layer,
            chosen=chosen,
            first=first,
            padded=first and mask is not None and not bool(mask.bool().all()),
            queries=self.masks["decoder"],
            sequences=self.sequences,
        )


def _flat(mask: object) -> Tensor | None:
    return mask if isinstance(mask, Tensor) and mask.ndim == 2 else None


def _arguments(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Mapping[str, Any]:
    try:
        return inspect.signature(model.forward).bind_partial(*args, **kwargs).arguments
    except TypeError:  # the model itself says what is wrong with its arguments
        return kwargs
