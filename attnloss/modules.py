"""Losses as modules, for training code that is made of them."""

from collections.abc import Mapping, Sequence
from typing import Any, Unpack

from jaxtyping import Float
from torch import Tensor, nn

from attnloss import losses, ranks
from attnloss.loss import evaluate_losses
from attnloss.options import ScoreOptions
from attnloss.registry import check_parameters
from attnloss.scores import make_other, make_scores

LossConfig = Mapping[str, Any]
"""A loss as POST /loss names it: {"name": "guided", "weight": 0.1, "label": "diagonal", "sigma": 0.2}."""


class AttentionLoss(nn.Module):
    """One loss of the registry with its parameters fixed: `AttentionLoss("guided", sigma=0.2)`.

    What changes with the data is given to `forward`: targets, the second map, mask and lengths.
    """

    def __init__(self, name: str, *, reduction: str = "mean", backend: str = "auto", **parameters: Any) -> None:
        super().__init__()
        check_parameters(name, parameters)
        self.name = name
        self.reduction = reduction
        self.backend = backend
        self.parameters_of_loss = dict(parameters)

    def forward(self, query: Tensor, key: Tensor, *other: Tensor, **options: Any) -> Float[Tensor, "*reduced"]:
        """Compute the loss; `other` are query and key of the second map for losses between two."""
        settings = {"reduction": self.reduction, "backend": self.backend, **self.parameters_of_loss, **options}
        loss: Tensor = getattr(losses, self.name)(query, key, *other, **settings)
        return loss

    def from_weights(self, weights: Tensor, other: Tensor | None = None, **options: Any) -> Float[Tensor, "*reduced"]:
        """Compute the loss over weights that softmax gave."""
        settings = {"reduction": self.reduction, "backend": self.backend, **self.parameters_of_loss, **options}
        loss: Tensor = getattr(losses, self.name).from_weights(weights, other, **settings)
        return loss

    def extra_repr(self) -> str:
        """Name and parameters."""
        return ", ".join([repr(self.name), *(f"{name}={value!r}" for name, value in self.parameters_of_loss.items())])


class AttentionLosses(nn.Module):
    """Several weighted losses over one map, computed in one pass, with the terms kept for logging.

    `AttentionLosses([{"name": "entropy", "weight": 0.01}, {"name": "coverage"}])`: keys are the label of each,
    by default its name.
    """

    def __init__(self, configs: Sequence[LossConfig], *, reduction: str = "mean", backend: str = "auto") -> None:
        super().__init__()
        self.reduction = reduction
        self.backend = backend
        self.configs: dict[str, dict[str, Any]] = {}
        self.weights: dict[str, float] = {}
        for config in configs:
            parameters = dict(config)
            name, weight = parameters.pop("name", None), parameters.pop("weight", 1.0)
            label = parameters.pop("label", name)
            if label in self.configs:
                raise ValueError(f"label {label!r} is taken; give each loss its own")
            check_parameters(name, parameters)
            self.configs[label] = {"name": name, **parameters}
            self.weights[label] = float(weight)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        data: Mapping[str, Mapping[str, Any]] | None = None,
        **options: Unpack[ScoreOptions],
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Compute Σ weight·loss and the unweighted losses by label; with reduction none they keep their shape.

        `data` gives a loss, by its label, what changes with the data: `target`, or `other`: (query, key) of the
        second map. `options` are causal, mask, key_lengths, query_lengths and scale of `attnloss.attention`.
        """
        scores = make_scores(query, key, **options)
        given = data or {}
        for label in given:
            if label not in self.configs:
                raise ValueError(f"data must name losses of {', '.join(self.configs)}; got {label!r}")
        made = {}
        for label, config in self.configs.items():
            parameters = {**config, **given.get(label, {})}
            if "other" in parameters:
                parameters["other"] = make_other(scores, *parameters["other"])
            made[label] = losses.build(parameters.pop("name"), scores, parameters)
        values, _ = evaluate_losses(scores, made, backend=self.backend)
        counts = scores.counts.expand(scores.shape[:3])
        terms = {
            label: loss.reduce(values[label], counts, scores.shape[3], self.reduction) for label, loss in made.items()
        }
        total = scores.zeros()
        for label, term in terms.items():
            total = total + self.weights[label] * term.sum()
        return total, {label: ranks.restore_unit(term, scores.rank) for label, term in terms.items()}

    def extra_repr(self) -> str:
        """Labels and weights."""
        return ", ".join(f"{label}: {weight:g}" for label, weight in self.weights.items())
