"""A small transformer that translates, in plain torch (Vaswani et al. 2017; layer norms first, Xiong et al. 2020).

Queries and keys of every cross-attention come out with the decoder's states, so that losses can be asked of them.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PAD, START, END = 0, 1, 2
LONGEST = 192


class Map(NamedTuple):
    """Queries and keys [batch, heads, tokens, width] of one attention."""

    query: Tensor
    key: Tensor


class Attention(nn.Module):
    """Attention of several heads."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width, bias=False) for _ in range(4))

    def forward(self, x: Tensor, memory: Tensor, allowed: Tensor | None) -> tuple[Tensor, Map]:
        """Attend from x to the memory, or causally where nothing says what is allowed."""
        query, key, value = (
            part(of).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part, of in ((self.query, x), (self.key, memory), (self.value, memory))
        )
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=allowed, is_causal=allowed is None)
        return self.out(mixed.transpose(1, 2).flatten(2)), Map(query, key)


class Layer(nn.Module):
    """Self-attention, cross-attention if it is a decoder's, and two linear maps."""

    def __init__(self, width: int, heads: int, dropout: float, *, cross: bool) -> None:
        super().__init__()
        self.attend = Attention(width, heads)
        self.cross = Attention(width, heads) if cross else None
        self.norms = nn.ModuleList([nn.LayerNorm(width) for _ in range(3 if cross else 2)])
        self.wide = nn.Sequential(nn.Linear(width, 4 * width), nn.ReLU(), nn.Linear(4 * width, width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, memory: Tensor | None, allowed: Tensor) -> tuple[Tensor, Map | None]:
        """Each part adds to x; `allowed` are the places of the memory, or of x itself in an encoder."""
        normed, seen = self.norms[0](x), None
        x = x + self.dropout(self.attend(normed, normed, allowed if memory is None else None)[0])
        if self.cross is not None and memory is not None:
            mixed, seen = self.cross(self.norms[2](x), memory, allowed)
            x = x + self.dropout(mixed)
        return x + self.dropout(self.wide(self.norms[1](x))), seen


class Translator(nn.Module):
    """Encoder and decoder over one vocabulary, whose table is the output matrix as well."""

    def __init__(self, words: int, *, width: int, heads: int = 4, layers: int = 2, dropout: float = 0.1) -> None:
        super().__init__()
        self.table = nn.Embedding(words, width)
        nn.init.normal_(self.table.weight, std=width**-0.5)
        self.encoder, self.decoder = (
            nn.ModuleList([Layer(width, heads, dropout, cross=cross) for _ in range(layers)]) for cross in (False, True)
        )
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("places", _waves(LONGEST, width))

    def embed(self, ids: Tensor) -> Tensor:
        """Tokens and their places."""
        table = self.table(ids) * math.sqrt(self.table.embedding_dim)
        return table + self.places[: ids.shape[1]]

    def encode(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """The memory, and which of its places hold tokens: [batch, 1, 1, m]."""
        x, allowed = self.embed(source), (source != PAD)[:, None, None]
        for layer in self.encoder:
            x, _ = layer(x, None, allowed)
        return self.norms[0](x), allowed

    def decode(self, memory: Tensor, allowed: Tensor, before: Tensor) -> tuple[Tensor, list[Map]]:
        """States that predict the token after each of `before`, and the map of every layer's cross-attention."""
        x, maps = self.embed(before), []
        for layer in self.decoder:
            x, seen = layer(x, memory, allowed)
            maps.append(seen)
        return self.norms[1](x), maps

    def forward(self, source: Tensor, target: Tensor) -> tuple[Tensor, list[Map]]:
        """States that predict the target's tokens, each from those before it."""
        before = F.pad(target[:, :-1], (1, 0), value=START)
        return self.decode(*self.encode(source), before)

    @torch.no_grad()
    def translate(self, source: Tensor) -> list[list[int]]:
        """The likeliest token each time, up to the end or to a length that no good translation has."""
        memory, allowed = self.encode(source)
        made = torch.full((len(source), 1), START)
        for _ in range(2 * source.shape[1] + 5):
            states, _ = self.decode(memory, allowed, made)
            made = torch.cat([made, (states[:, -1] @ self.table.weight.T).argmax(-1, keepdim=True)], 1)
            if (made == END).any(1).all():
                break
        return [row[1 : row.index(END)] if END in row else row[1:] for row in made.tolist()]


def _waves(places: int, width: int) -> Tensor:
    angle = torch.arange(places)[:, None] / 10000 ** (torch.arange(0, width, 2) / width)
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(1)
