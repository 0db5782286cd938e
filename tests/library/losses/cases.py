"""Problems to compute losses of, and every loss with parameters that fit them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from attnloss import losses
from attnloss.registry import LOSSES
from tests.library.losses import units
from tests.library.losses.definitions import Map, allowed_keys
from tests.library.losses.solvers import Array

Parameters = dict[str, Any]

SHORT, LONG, WIDTH, OTHER_WIDTH = 5, 7, 11, 13
"""Counts of queries and keys, and head dims: with 2 batch entries and 3 heads they are different primes."""
TWO_MAPS = frozenset(
    name for name, spec in LOSSES.items() if any(parameter.name == "other" for parameter in spec.parameters)
)
ORDERED = frozenset({"forward_sum", "bin"})
"""Losses of ways through all keys, which need a query for each."""


@dataclass(frozen=True, eq=False)
class Problem:
    """Two maps of one request: tensors of its rank, and the options that say what may be attended to."""

    query: Tensor
    key: Tensor
    other_query: Tensor
    other_key: Tensor
    options: dict[str, Any]

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return self.query, self.key, self.other_query, self.other_key

    def inputs(self, name: str) -> tuple[Tensor, ...]:
        return self.tensors if name in TWO_MAPS else self.tensors[:2]

    def to(self, dtype: torch.dtype) -> "Problem":
        return Problem(*(tensor.to(dtype) for tensor in self.tensors), self.options)

    def recorded(self) -> "Problem":
        """The same, with gradients."""
        return Problem(*(tensor.detach().clone().requires_grad_() for tensor in self.tensors), self.options)

    def loss(self, name: str, parameters: Parameters, **changes: Any) -> Tensor:
        return getattr(losses, name)(*self.inputs(name), **parameters, **(self.options | changes))

    def definition(self, *, other: bool = False) -> Map:
        """Either map, in NumPy."""
        query, key = (_four(tensor) for tensor in (self.tensors[2:] if other else self.tensors[:2]))
        scale = self.options.get("scale") or query.shape[-1] ** -0.5
        group = query.shape[1] // key.shape[1]
        heads = [query[:, head] @ key[:, head // group].transpose(0, 2, 1) for head in range(query.shape[1])]
        if other:
            scale = query.shape[-1] ** -0.5
        return Map(
            np.stack(heads, 1) * scale, self.allowed, self._ends("query_lengths", 2), self._ends("key_lengths", 3)
        )

    @property
    def shape(self) -> tuple[int, ...]:
        return (*_four(self.query).shape[:3], self.key.shape[-2])

    @property
    def allowed(self) -> np.ndarray:
        mask = self.options.get("mask")
        full = np.ones(self.shape, bool) if mask is None else np.broadcast_to(_lift(mask).numpy(), self.shape)
        ends = self._ends("query_lengths", 2), self._ends("key_lengths", 3)
        return allowed_keys(self.shape, *ends, self.options.get("causal", False), full)

    def _ends(self, name: str, axis: int) -> tuple[int, ...]:
        return tuple(self.options.get(name) or [self.shape[axis]] * self.shape[0])

    def truth(self, name: str, parameters: Parameters, reduction: str = "none") -> Array:
        """What the definition gives."""
        own: Parameters = {key: lifted(key, value, self.query.ndim) for key, value in parameters.items()}
        if name in TWO_MAPS:
            own["other"] = self.definition(other=True)
        x = self.definition()
        return units.reduced(x, units.per_unit(name, x, own), reduction)

    def restored(self, values: Array) -> Array:
        """Values of the definition in the rank of the request."""
        if self.query.ndim == 4 or values.ndim == 0:
            return values
        if self.query.ndim == 2:
            return values[0, 0] if values.ndim > 1 else values[0]
        return values[:, 0] if values.ndim > 1 else values


def _lift(tensor: Tensor) -> Tensor:
    return tensor[None, None] if tensor.ndim == 2 else tensor[:, None] if tensor.ndim == 3 else tensor


def _four(tensor: Tensor) -> Array:
    return _lift(tensor).detach().double().numpy()


def lifted(key: str, value: Any, rank: int) -> Any:
    """A parameter for the definition, which takes those along queries in rank 4."""
    if not isinstance(value, Tensor):
        return value
    array = value.detach().double().numpy() if value.is_floating_point() else value.numpy()
    return array[None, None] if rank == 2 else array[:, None] if rank == 3 else array


def setting(name: str, *, ordered: bool = False, rank: int = 4, heads: int = 3, key_heads: int = 3) -> Problem:
    """A problem of one of SETTINGS; `ordered` has more queries than keys and leaves a way through the keys."""
    n, m = (LONG, SHORT) if ordered else (SHORT, LONG)
    if name == "square":
        n = m = LONG
    if name == "grouped":
        heads, key_heads = 6, 3
    generator = torch.Generator().manual_seed(sum(map(ord, name)))
    lead, key_lead, other_lead = {2: [()] * 3, 3: [(2,)] * 3, 4: [(2, heads), (2, key_heads), (2, heads)]}[rank]
    if rank == 4 and name == "grouped":
        other_lead = (2, 2)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    entries = 1 if rank == 2 else 2
    lengths = {"query_lengths": [n, n - 1][:entries], "key_lengths": [m, m - 3][:entries]}
    mask = torch.rand(n, m, generator=generator) > 0.4
    if ordered:
        i, j = torch.arange(n)[:, None], torch.arange(m)
        mask |= ((i - 1).clamp(min=0) * (m - 1) - j * (n - 2)).abs() < 2 * n
    mask[1] = False
    options: dict[str, dict[str, Any]] = {
        "plain": {},
        "square": {"causal": True},
        "causal": {"causal": True},
        "lengths": lengths,
        "causal lengths": {"causal": True, **lengths},
        "mask": {"mask": mask, "scale": 0.7},
        "grouped": {"mask": mask, **lengths} if not ordered else lengths,
    }
    tensors = normal(*lead, n, WIDTH), normal(*key_lead, m, WIDTH)
    others = normal(*lead, n, OTHER_WIDTH), normal(*other_lead, m, OTHER_WIDTH)
    return Problem(*tensors, *others, options[name])


SETTINGS = ("plain", "square", "causal", "lengths", "causal lengths", "mask", "grouped")

Maker = Callable[[Problem], Parameters]


def index_target(problem: Problem) -> Tensor:
    """An allowed key of each query that has one, in the rank of the request; junk elsewhere."""
    generator = torch.Generator().manual_seed(7)
    allowed = torch.from_numpy(problem.allowed)
    shuffled = torch.rand(allowed.shape, generator=generator).masked_fill(~allowed, -1.0)
    index = torch.where(allowed.any(-1), shuffled.argmax(-1), 99)
    return _own_rank(index, problem)


def dense_target(problem: Problem) -> Tensor:
    """A distribution over the allowed keys of each query; junk on the others."""
    generator = torch.Generator().manual_seed(8)
    allowed = torch.from_numpy(problem.allowed)
    noise = torch.rand(allowed.shape, generator=generator, dtype=torch.float64) + 0.1
    within = noise * allowed
    rows = within / within.sum(-1, keepdim=True).clamp(min=0.1)
    return _own_rank(torch.where(allowed, rows, 5.0), problem)


def sparse_target(problem: Problem) -> Parameters:
    """Two allowed keys of each query, the first alone where there is one."""
    generator = torch.Generator().manual_seed(9)
    allowed = torch.from_numpy(problem.allowed)
    ranked = torch.rand(allowed.shape, generator=generator).masked_fill(~allowed, -1.0).sort(-1, descending=True)
    keys = ranked.indices[..., :2].masked_fill(ranked.values[..., :2] < 0, -1)
    shares = torch.where(keys[..., 1:] < 0, torch.tensor([1.0, 0.3]), torch.tensor([0.8, 0.2])).double()
    return {"target": _own_rank(keys, problem), "target_weights": _own_rank(shares, problem)}


def positions(problem: Problem) -> Tensor:
    generator = torch.Generator().manual_seed(10)
    share = torch.rand(problem.shape[:3], generator=generator, dtype=torch.float64)
    return _own_rank(share * (problem.shape[3] - 1), problem)


def _own_rank(tensor: Tensor, problem: Problem) -> Tensor:
    return tensor[0, 0] if problem.query.ndim == 2 else tensor[:, 0] if problem.query.ndim == 3 else tensor


_INDEX: Maker = lambda problem: {"target": index_target(problem)}  # noqa: E731
_DENSE: Maker = lambda problem: {"target": dense_target(problem)}  # noqa: E731


def _with(maker: Maker, **more: Any) -> Maker:
    return lambda problem: maker(problem) | more


def _just(**parameters: Any) -> Maker:
    return lambda problem: parameters


_PARAMETERS: dict[str, dict[str, Maker]] = {
    "target_entropy": {"tau 1.3": _just(tau=1.3)},
    "renyi": {f"alpha {alpha:g}": _just(alpha=alpha) for alpha in (0.5, 0.0, 1.0, 1.001, 1.2, 3.0, 30.0)},
    "cross_entropy": {
        "index": _INDEX,
        "dense": _DENSE,
        "sparse": sparse_target,
        "probability": lambda problem: {"probability": dense_target(problem)},
        "index eps": _with(_INDEX, eps=0.2),
        "dense eps": _with(_DENSE, eps=0.1),
        "sparse eps": _with(sparse_target, eps=0.1),
        "probability eps": lambda problem: {"probability": dense_target(problem), "eps": 0.15},
        "index smoothed": _with(_INDEX, smoothing=0.3),
        "dense smoothed": _with(_DENSE, smoothing=0.3),
    },
    "entmax": {"index": _INDEX, "dense": _DENSE, **{f"alpha {a:g}": _with(_DENSE, alpha=a) for a in (1.1, 3.0)}},
    "sparsemax": {"index": _INDEX, "dense": _DENSE},
    "permutation": {"plain": _INDEX, "penalty 0.3": _with(_INDEX, penalty=0.3)},
    "order": {"floats": lambda problem: {"target": positions(problem)}},
    "guided": {"plain": _just(), "sigma 0.2": _just(sigma=0.2)},
    "sink": {"plain": _just(), "keys 0 and 3": _just(keys=(0, 3))},
    "forward_sum": {"plain": _just(), "blank -4": _just(blank=-4.0)},
    "bin": {"plain": _just(), "index": _INDEX, "index eps": _with(_INDEX, eps=0.2)},
}


def _of(name: str) -> dict[str, Maker]:
    plain = {"plain": _just()}
    if name in TWO_MAPS:
        warm = {"temperature 2": _just(temperature=2.0)}
        return plain | (warm if any(parameter.name == "temperature" for parameter in LOSSES[name].parameters) else {})
    return _PARAMETERS.get(name, plain)


CASES: dict[str, tuple[str, Maker]] = {
    f"{name} {label}": (name, maker) for name in LOSSES for label, maker in _of(name).items()
}
ONE_EACH: dict[str, tuple[str, Maker]] = {name: (name, next(iter(_of(name).values()))) for name in LOSSES}
PAIRS: dict[str, tuple[str, Maker, str]] = {
    f"{label} {chosen}": (*case, chosen)
    for label, case in CASES.items()
    for chosen in SETTINGS
    if case in ONE_EACH.values() or chosen in ("causal lengths", "grouped")
}
"""Every loss in every setting, and its other parameters in those that combine the most."""
