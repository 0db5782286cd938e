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

    `graph` says whether autograd records, `encoded` whether the encoder's outputs were given; `queries` is the
    model's mask of the decoder's texts.
    """

    sequences: Sequences | None
    graph: bool
    encoded: bool
    queries: Tensor | None
    calls: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(
        cls, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], sequences: Sequences | None
    ) -> "Forward":
        """Read the arguments of the model."""
        given = _arguments(model, args, kwargs)
        two_sided = "decoder_attention_mask" in inspect.signature(model.forward).parameters
        decoder = given.get("decoder_attention_mask" if two_sided else "attention_mask")
        queries = decoder if isinstance(decoder, Tensor) and decoder.ndim == 2 else None
        encoded = given.get("encoder_outputs") is not None
        return cls(sequences, torch.is_grad_enabled(), encoded, queries)

    def count(self, site: Site) -> int:
        """Count a layer, and give its number."""
        self.calls[site] += 1
        return self.calls[site] - 1

    def turn(self, site: Site, layer: int, chosen: bool, *, first: bool) -> Turn:
        """Describe the call of a layer."""
        return Turn(
            site=site,
            layer=layer,
            chosen=chosen,
            first=first,
            queries=self.queries,
            sequences=self.sequences,
        )


def _arguments(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Mapping[str, Any]:
    try:
        return inspect.signature(model.forward).bind_partial(*args, **kwargs).arguments
    except TypeError:  # the model itself says what is wrong with its arguments
        return kwargs
