"""What one attention call computes: its tensors and the map that they describe."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from attnloss.biased import make_biased, split_additive
from attnloss.probe.errors import ProbeError
from attnloss.probe.masks import Description
from attnloss.probe.sequences import Lengths, Sequences
from attnloss.probe.sites import Site
from attnloss.score_map import ScoreMap
from attnloss.scores import make_scores


@dataclass(frozen=True, eq=False)
class Call:
    """The arguments of an attention function, as a model gives them."""

    module: nn.Module
    query: Float[Tensor, "B H n d"]
    key: Float[Tensor, "B Hkv m d"]
    value: Float[Tensor, "B Hkv m dv"]
    mask: Tensor | None
    dropout: float
    scaling: float | None
    is_causal: bool | None
    position_bias: Float[Tensor, "#B #H n m"] | None
    softcap: float | None
    rest: dict[str, Any] = field(default_factory=dict)

    @property
    def causal(self) -> bool:
        """Whether it is causal without a mask that says so, decided as transformers' sdpa does."""
        wished = getattr(self.module, "is_causal", True) if self.is_causal is None else self.is_causal
        return bool(self.query.shape[2] > 1 and self.mask is None and wished)


@dataclass(frozen=True, eq=False)
class Inputs:
    """The tensors of a call, texts unpacked, and what each query may attend to."""

    query: Float[Tensor, "B H n d"]
    key: Float[Tensor, "B Hkv m d"]
    value: Float[Tensor, "B Hkv m dv"]
    causal: bool
    mask: Bool[Tensor, "#B #H #n m"] | None
    bias: Float[Tensor, "#B #H #n m"] | None
    softcap: float | None
    scaling: float | None
    lengths: tuple[Lengths, Lengths] | None

    def cut(self, heads: tuple[int, ...]) -> "Inputs":
        """Keep some query heads, each with the key head that it shares."""
        index = torch.tensor(heads, device=self.query.device)
        shared = index // (self.query.shape[1] // self.key.shape[1])
        return Inputs(
            query=self.query[:, index],
            key=self.key[:, shared],
            value=self.value[:, shared],
            mask=_heads(self.mask, index),
            bias=_heads(self.bias, index),
            causal=self.causal,
            softcap=self.softcap,
            scaling=self.scaling,
            lengths=self.lengths,
        )

    @cached_property
    def scores(self) -> ScoreMap:
        """The map, described."""
        plain = make_scores(
            self.query,
            self.key,
            causal=self.causal,
            mask=self.mask,
            query_lengths=None if self.lengths is None else self.lengths[0],
            key_lengths=None if self.lengths is None else self.lengths[1],
            scale=self.scaling,
        )
        if self.bias is None and self.softcap is None:
            return plain
        return make_biased(plain, bias=self.bias, softcap=self.softcap)


def plain_inputs(call: Call, rows: Bool[Tensor, "B n"] | None) -> Inputs:
    """Read a call that is no sequences; `rows` says which queries are not padding."""
    n = call.query.shape[2]
    keys = slice(0, n if call.causal else call.key.shape[2])
    mask, bias = (None, None) if call.mask is None else _split(call.mask)
    if rows is not None:
        mask = rows[:, None, :, None] if mask is None else mask & rows[:, None, :, None]
    extra = _position_bias(call, keys)
    return Inputs(
        query=call.query,
        key=call.key[:, :, keys],
        value=call.value[:, :, keys],
        causal=call.causal,
        mask=mask,
        bias=bias if extra is None else extra if bias is None else bias + extra,
        softcap=call.softcap,
        scaling=call.scaling,
        lengths=None,
    )


def unpacked_inputs(call: Call, described: Description, sequences: Sequences, site: Site) -> Inputs:
    """Read a call of sequences: each text a batch entry of its own."""
    if call.position_bias is not None and sequences.packed:
        raise ProbeError("a position bias, as of T5, cannot follow packed texts; pad them instead")
    if site != "cross" and call.query.shape[2] != call.key.shape[2]:
        raise ProbeError("sequences cannot continue a cache: give whole texts, or leave the context")
    lengths = sequences.at(site)
    query = sequences.unpack("queries", call.query, lengths[0])
    key = sequences.unpack("keys", call.key, lengths[1])
    causal, mask = described.local(query.shape[2], key.shape[2], query.device)
    return Inputs(
        query=query,
        key=key,
        value=sequences.unpack("values", call.value, lengths[1]),
        causal=causal,
        mask=mask,
        bias=_position_bias(call, slice(None)),
        softcap=call.softcap,
        scaling=call.scaling,
        lengths=lengths,
    )


def _split(mask: Tensor) -> tuple[Tensor | None, Tensor | None]:
    return (mask, None) if mask.dtype == torch.bool else split_additive(mask)


def _position_bias(call: Call, keys: slice) -> Tensor | None:
    """Leave a bias out that is 0 and stays so: T5 gives one to cross-attention, which has none to learn."""
    bias = call.position_bias
    if bias is None or (not bias.requires_grad and not bool(bias.any())):
        return None
    return bias[..., keys]


def _heads(tensor: Tensor | None, index: Tensor) -> Tensor | None:
    return tensor if tensor is None or tensor.shape[1] == 1 else tensor[:, index]
