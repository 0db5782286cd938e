"""What a model is put to before it serves: sequences that share a forward must get what each gets alone."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from attnloss.probe import probe
from service.text.models import Kind, Layout, body_of

_LENGTHS = (37, 5, 23)
"""Unequal, the longest first, none a multiple of another."""

_TOLERANCE = {torch.float32: 2e-4, torch.bfloat16: 0.06, torch.float16: 0.01}
"""How far off a hidden state may be, as a share of the largest."""


class Trial:
    """Sequences of ordinary tokens, and what the model makes of them one by one, packed and padded."""

    def __init__(self, network: Any, kind: Kind, tokenizer: Any, device: torch.device) -> None:
        self._network = network
        self._body = body_of(network, kind)
        self._kind = kind
        self._pad = int(tokenizer.pad_token_id or 0)
        self._device = device
        config = network.config.get_text_config(decoder=True)
        generator = torch.Generator().manual_seed(0)
        ordinary = [i for i in range(min(config.vocab_size, len(tokenizer))) if i not in set(tokenizer.all_special_ids)]
        choice = torch.randint(len(ordinary), (sum(_LENGTHS),), generator=generator)
        ids = torch.tensor(ordinary)[choice]
        self._sequences = list(ids.to(device).split(_LENGTHS))  # type: ignore[no-untyped-call]  # torch leaves it so

    def hidden_states(self) -> list[Tensor]:
        """Those of each sequence alone."""
        return [self._forward(ids[None], None, None)[0] for ids in self._sequences]

    def layout(self, truth: Sequence[Tensor]) -> Layout:
        """The first layout that gives the truth. Raises ValueError if not even single sequences do."""
        if not self._agree(truth, self.hidden_states()):
            raise ValueError("its attention does not go through transformers' attention interface")
        if self._kind != "encoder-decoder" and self._agree(truth, self._try_packed()):
            return "packed"
        return "padded" if self._agree(truth, self._try_padded()) else "single"

    @torch.no_grad()
    def projects(self) -> bool:
        """Whether hidden states times the output matrix are the logits."""
        ids = self._sequences[0][None]
        projection = self._network.get_output_embeddings()
        if projection is None:
            return False
        logits = self._network(input_ids=ids, use_cache=False).logits
        mine = F.linear(self._forward(ids, None, None), projection.weight, getattr(projection, "bias", None))
        return self._close(logits, mine)

    @torch.no_grad()
    def _forward(self, ids: Tensor, positions: Tensor | None, mask: Tensor | None) -> Tensor:
        inputs = {"input_ids": ids, "attention_mask": mask} | ({} if positions is None else {"position_ids": positions})
        if self._kind == "encoder-decoder":
            inputs |= {"decoder_input_ids": ids}
        if self._kind != "encoder":
            inputs["use_cache"] = False  # type: ignore[assignment]
        out = self._body(**inputs)
        states: Tensor = out.logits if self._kind == "encoder-decoder" else out.last_hidden_state
        return states

    def _try_packed(self) -> list[Tensor] | None:
        ids = torch.cat(self._sequences)[None]
        positions = torch.cat([torch.arange(n, device=self._device) for n in _LENGTHS])[None]
        try:
            with probe(self._body) as probing, probing.sequences(list(_LENGTHS), packed=True):
                hidden = self._forward(ids, positions, torch.ones_like(ids))
        except (TypeError, ValueError, RuntimeError):
            return None
        return list(hidden[0].split(_LENGTHS))  # type: ignore[no-untyped-call]  # torch leaves it so

    def _try_padded(self) -> list[Tensor] | None:
        longest = max(_LENGTHS)
        ids = torch.stack([F.pad(ids, (0, longest - len(ids)), value=self._pad) for ids in self._sequences])
        mask = torch.stack([torch.arange(longest, device=self._device) < n for n in _LENGTHS]).long()
        lengths = list(_LENGTHS)
        try:
            with (
                probe(self._network.base_model) as probing,
                probing.sequences(lengths, packed=False, key_lengths=lengths),
            ):
                hidden = self._forward(ids, None, mask)
        except (TypeError, ValueError, RuntimeError):
            return None
        return [row[:n] for row, n in zip(hidden, _LENGTHS, strict=True)]

    def _agree(self, truth: Sequence[Tensor], got: Sequence[Tensor] | None) -> bool:
        return got is not None and all(map(self._close, truth, got))

    @staticmethod
    def _close(truth: Tensor, got: Tensor) -> bool:
        bound = _TOLERANCE[truth.dtype] * float(truth.abs().max())
        return bool(torch.isfinite(truth).all()) and float((truth.float() - got.float()).abs().max()) <= bound
