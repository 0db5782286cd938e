"""Texts of several lengths in one forward: padded on the right, or packed one after the other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from attnloss.errors import FieldError
from attnloss.probe.errors import ProbeError
from attnloss.probe.sites import Site

Lengths = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Sequences:
    """Lengths of the texts of a forward; `key_lengths` are those of the encoder's texts, if there is one."""

    lengths: Lengths
    packed: bool
    key_lengths: Lengths | None
    sites: Mapping[nn.Module, Site]

    def at(self, site: Site) -> tuple[Lengths, Lengths]:
        """Give the lengths of queries and of keys at a site."""
        if site == "decoder" or (site == "encoder" and "cross" not in self.sites.values()):
            return self.lengths, self.lengths
        if self.key_lengths is None:
            raise ProbeError("sequences of an encoder-decoder need key_lengths, the lengths of the encoder's texts")
        return (self.lengths if site == "cross" else self.key_lengths), self.key_lengths

    def unpack(self, name: str, tensor: Float[Tensor, "b h t d"], lengths: Lengths) -> Float[Tensor, "B h longest d"]:
        """Give each text its own batch entry, padded with 0 to the longest; raise ProbeError if they do not fit."""
        batch, _, length, _ = tensor.shape
        if self.packed:
            if (batch, length) != (1, sum(lengths)):
                raise ProbeError(f"packed {name} must be 1 × {sum(lengths)} long, came {batch} × {length}")
            parts = tensor[0].transpose(0, 1).split(lengths)  # type: ignore[no-untyped-call]  # torch leaves it untyped
            return pad_sequence(parts, batch_first=True).transpose(1, 2)
        if batch != len(lengths) or length < max(lengths):
            expected = f"{len(lengths)} × at least {max(lengths)}"
            raise ProbeError(f"padded {name} must be {expected} long, came {batch} × {length}")
        return tensor

    def pack(self, output: Float[Tensor, "B h longest d"], lengths: Lengths) -> Float[Tensor, "b t h d"]:
        """Bring outputs back into the model's order, as attention functions give them."""
        if not self.packed:
            return output.transpose(1, 2).contiguous()
        return torch.cat([row[:, :length].transpose(0, 1) for row, length in zip(output, lengths, strict=True)])[None]


def make_sequences(
    lengths: Sequence[int], packed: bool, key_lengths: Sequence[int] | None, sites: Mapping[nn.Module, Site]
) -> Sequences:
    """Check the lengths. Raises FieldError that names the length at fault."""
    if key_lengths is not None and len(key_lengths) != len(lengths):
        came = f"{len(key_lengths)} for {len(lengths)} texts"
        raise FieldError("key_lengths", (), f"key_lengths must be one per text, came {came}")
    for field, given in (("lengths", lengths), ("key_lengths", key_lengths or ())):
        for place, length in enumerate(given):
            if length < 1:
                raise FieldError(field, (place,), f"{field}[{place}] must be at least 1, got {length}")
    if not lengths:
        raise FieldError("lengths", (), "lengths must hold one length per text, got none")
    return Sequences(tuple(lengths), packed, None if key_lengths is None else tuple(key_lengths), sites)
