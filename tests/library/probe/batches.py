"""Texts in batches, padded or packed, and the comparison of their records with those of each text alone."""

from typing import Any

import torch
from torch import Tensor

from attnloss.probe import AttentionRecord

LENGTHS = [5, 11, 7]
KEY_LENGTHS = [13, 3, 2]
CLOSE = {"atol": 2e-5, "rtol": 1e-4}
ASKED: dict[str, Any] = {
    "returns": ["entropy", "max", "received", "lse", "weights"],
    "losses": [{"name": "entropy"}, {"name": "coverage"}],
}
FUSED: dict[str, Any] = {"returns": ["entropy", "max", "received", "lse"], "losses": [{"name": "entropy"}]}


def padded(parts: list[Tensor], side: str) -> tuple[Tensor, Tensor]:
    """Pad texts to a batch, and give its attention_mask."""
    longest = max(part.shape[1] for part in parts)
    rows, masks = [], []
    for part in parts:
        missing = longest - part.shape[1]
        padding = (0, missing) if side == "right" else (missing, 0)
        rows.append(torch.nn.functional.pad(part, padding))
        masks.append(torch.nn.functional.pad(torch.ones_like(part), padding))
    return torch.cat(rows), torch.cat(masks)


def places(mask: Tensor) -> Tensor:
    return (mask.cumsum(-1) - 1).clamp(min=0)


def compare(record: AttentionRecord, alone: AttentionRecord, entry: int, queries: Tensor, keys: Tensor) -> None:
    """The valid queries and keys of one entry say what the text alone said; the rest is 0."""
    for name, value in record.values.items():
        own, rest = alone.values[name][0], value[entry]
        if name == "received":
            assert (rest[:, ~keys] == 0).all()
            rest = rest[:, keys]
        else:
            assert (rest[:, ~queries] == (-torch.inf if name == "lse" else 0)).all()
            rest = rest[:, queries]
            rest = rest[..., keys] if name == "weights" else rest
        torch.testing.assert_close(rest, own, **CLOSE)
    assert (record.counts[entry][:, ~queries] == 0).all()
    assert (record.counts[entry][:, queries] == alone.counts[0]).all()


def packed(parts: list[Tensor]) -> dict[str, Tensor]:
    whole = torch.cat(parts, 1)
    position_ids = torch.cat([torch.arange(part.shape[1]) for part in parts])[None]
    return {"input_ids": whole, "attention_mask": torch.ones_like(whole), "position_ids": position_ids}
