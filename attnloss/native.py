"""The native backend: one pass of the project's C++ kernel gives all that its functionals read."""

from dataclasses import replace
from functools import cached_property
from typing import cast

import torch
from torch import Tensor
from typing_extensions import override

from attnloss.fused import FusedPass
from attnloss.kernels import native
from attnloss.kernels.attended import Results
from attnloss.scores import Scores


class NativePass(FusedPass):
    """Output, lse, entropy, largest and strongest of one map by one pass, the rest by one pass each."""

    provides = frozenset({"expect", "entropy", "lse", "largest", "top", "received", "two_maps", "overlaps"})
    most_keys = 128

    @classmethod
    @override
    def refusal(cls, scores: Scores) -> str | None:
        if scores.query.device.type != "cpu":
            return f"it runs on CPU tensors, these are on {scores.query.device}"
        return native.unavailable()

    @cached_property
    def _attended(self) -> Results:
        parts = list(self.features.values())
        joined = torch.cat(parts, -1) if len(parts) > 1 else parts[0] if parts else None
        return native.attend_top(self.scores, joined, self.top_count)

    @override
    def expect(self, owner: object) -> Tensor:
        expectation = self._attended[0]
        assert expectation is not None
        start = 0
        for other, features in self.features.items():
            if other is owner:
                return expectation[..., start : start + features.shape[-1]]
            start += features.shape[-1]
        raise KeyError(owner)

    @property
    @override
    def lse(self) -> Tensor:
        return self._attended[1]

    @property
    @override
    def entropy(self) -> Tensor:
        return self._attended[2]

    @property
    @override
    def largest(self) -> Tensor:
        return self._attended[3]

    @override
    def top(self, count: int) -> tuple[Tensor, Tensor]:
        index, weight = self._attended[4:]
        assert index is not None
        assert weight is not None
        return index[..., :count], weight[..., :count]

    @override
    def received(self, row_weights: Tensor | None = None) -> Tensor:
        return native.received(self.scores, self.lse, row_weights)

    @override
    def two_maps(self, other: Scores, kind: str, temperature: float) -> Tensor:
        maps = _tempered(self.scores, temperature), _tempered(other, temperature)
        return native.two_maps(*maps, cast("native.Kind", kind))

    @override
    def overlaps(self, other: Scores, temperature: float) -> tuple[Tensor, Tensor, Tensor]:
        return native.overlaps(_tempered(self.scores, temperature), _tempered(other, temperature))


def _tempered(scores: Scores, temperature: float) -> Scores:
    return scores if temperature == 1 else replace(scores, scale=scores.scale / temperature)
