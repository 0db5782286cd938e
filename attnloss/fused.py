"""What a kernel gives that never writes the map: the interface of flash and native passes."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from jaxtyping import Float, Int
from torch import Tensor

from attnloss.scores import Scores, per_query_head


class FusedPass(ABC):
    """A kernel on one score map; what it computed once is shared by the functionals that read it."""

    provides: ClassVar[frozenset[str]]
    """Of expect, entropy, lse, largest, top, received, two_maps and overlaps, those that are there."""
    most_keys: ClassVar[int] = 0
    """How many of the strongest keys of a query `top` gives at most."""

    def __init__(
        self, scores: Scores, features: Mapping[object, Float[Tensor, "B Hkv m _"]], top_count: int = 0
    ) -> None:
        """Take at once the features, by who asks, and the count of strongest keys: one pass may serve them all."""
        self.scores = scores
        self.features = dict(features)
        self.top_count = top_count

    @classmethod
    @abstractmethod
    def refusal(cls, scores: Scores) -> str | None:
        """Why the kernel cannot compute on these scores, or None if it can."""

    @property
    def query(self) -> Float[Tensor, "B H n d"]:
        """The queries."""
        return self.scores.query

    @abstractmethod
    def expect(self, owner: object) -> Float[Tensor, "B H n f"]:
        """Σ_j p_ij·x_j, x being the features of `owner`."""

    @property
    @abstractmethod
    def lse(self) -> Float[Tensor, "B H n"]:
        """The log-sum-exp."""

    @property
    @abstractmethod
    def entropy(self) -> Float[Tensor, "B H n"]:
        """The entropy."""

    @property
    def largest(self) -> Float[Tensor, "B H n"]:
        """The largest weight."""
        raise NotImplementedError

    def top(self, count: int) -> tuple[Int[Tensor, "B H n {count}"], Float[Tensor, "B H n {count}"]]:
        """The keys with the largest scores, ties to the lower index, −1 past the last; and their weights."""
        raise NotImplementedError

    def received(self, row_weights: Float[Tensor, "B H n"] | None = None) -> Float[Tensor, "B H m"]:
        """Σ_i w_i·p_ij, w being 1 if not given."""
        raise NotImplementedError

    def two_maps(self, other: Scores, kind: str, temperature: float) -> Float[Tensor, "B H n"]:
        """A divergence, by its name, of this map and another one, the scores of both divided by `temperature`."""
        raise NotImplementedError

    def overlaps(self, other: Scores, temperature: float) -> tuple[Tensor, Tensor, Tensor]:
        """Σ_j p², Σ_j p·r and Σ_j r² per query, likewise."""
        raise NotImplementedError

    def log_weight_at(self, index: Int[Tensor, "B H n"]) -> Float[Tensor, "B H n"]:
        """Log p of one key per query, which it must be allowed to attend to: s̄ − L."""
        key = per_query_head(self.scores.key, self.query.shape[1])
        picked = key.gather(2, index[..., None].expand_as(self.query))
        return self.scores.scale * (self.query * picked).sum(-1) - self.lse
