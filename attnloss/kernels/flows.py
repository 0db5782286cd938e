"""Where a kernel adds up the gradients of query and key."""

from collections.abc import Sequence

import torch
from torch import Tensor

from attnloss.kernels import library
from attnloss.scores import Scores


def needs_gradient(*tensors: Tensor | None) -> bool:
    """Whether autograd would record what is computed of the tensors."""
    return torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors)


def chunks(scores: Scores, groups: int) -> int:
    """Into how many parts to cut the keys so that all threads have work; each costs one more gradient of query.

    `groups` counts the heads, or groups of heads, that share no key.
    """
    threads, items = library.load().threads(), scores.shape[0] * groups
    count, tiles = 1, -(-scores.shape[3] // library.KEYS_PER_TILE)
    while items * count % threads and items * count < 4 * threads and count < tiles:
        count += 1
    return count


class Flows:
    """The gradients of one map's query and key, zero until a kernel adds to them, and the structs that say so."""

    def __init__(
        self,
        scores: Scores,
        scale: float,
        tensors: tuple[Tensor, Tensor, Tensor],
        needed: Sequence[bool],
        groups: int | None = None,
    ) -> None:
        """Allocate those that are needed, for query, key and lse."""
        query, key, lse = tensors
        count = chunks(scores, key.shape[1] if groups is None else groups)
        self._query = query.new_zeros(count, *query.shape) if needed[0] else None
        self._key = key.new_zeros(key.shape) if needed[1] else None
        self.problem = library.load().problem(scores, count)
        self.map = library.score_map(scale, query, key, lse, (self._query, self._key))

    def grads(self) -> tuple[Tensor | None, Tensor | None]:
        """Sum what the chunks added."""
        if self._query is None:
            return None, self._key
        return self._query[0] if len(self._query) == 1 else self._query.sum(0), self._key
