"""The probe: a context in which every forward of a model leaves records of its attention."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from attnloss.errors import FieldError
from attnloss.probe.errors import ProbeError
from attnloss.probe.forward import Forward
from attnloss.probe.interface import check_registered, configs, implementation, install, installed, restore
from attnloss.probe.masks import RUNNING
from attnloss.probe.measure import Measured, Plan
from attnloss.probe.record import AttentionRecord
from attnloss.probe.sequences import Sequences, make_sequences
from attnloss.probe.sites import Site, check_site, heads_of, modules_by_site, sites
from attnloss.probe.state import CHECKED, PROBES, Turn
from attnloss.registry import STATISTICS, check_parameters


class Probe:
    """Made by `probe`. Inside of the context each forward of the model replaces the records of the last.

    `records` are in the order of layers. Backward passes through checkpointed layers belong inside, too.
    """

    def __init__(self, model: nn.Module, plan: Plan, site: Site, layers: frozenset[int], expected: int) -> None:
        """Take what `probe` checked."""
        self.model, self.plan = model, plan
        self.records: list[AttentionRecord] = []
        self._site: Site = site
        self._layers = layers
        self._expected = expected
        self._sites = modules_by_site(model)
        self._sequences: Sequences | None = None
        self._forward: Forward | None = None
        self._decisions: dict[nn.Module, set[bool]] = {}
        self._handles: list[RemovableHandle] = []
        self._former: list[tuple[Any, str | None]] = []

    def __enter__(self) -> "Probe":
        if any(module in PROBES for module in self._sites):
            raise ProbeError("this model is under a probe already: leave the first one before the second")
        self._former = [] if installed(self.model) else [(part, implementation(part)) for part in configs(self.model)]
        try:
            install(self.model)
        except BaseException:
            restore(self._former)
            raise
        self._handles = [
            self.model.register_forward_pre_hook(self._begin, with_kwargs=True),
            self.model.register_forward_hook(self._end, always_call=True),
            self.model.register_forward_hook(self._verify),
        ]
        PROBES.update(dict.fromkeys(self._sites, self))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for module in self._sites:
            PROBES.pop(module, None)
        for handle in self._handles:
            handle.remove()
        restore(self._former)

    def loss(self, label: str, reduction: str = "mean") -> Float[Tensor, "*reduced"]:
        """Mean over the records of a loss by its label, each reduced over valid (batch, head, query).

        Gradients flow. Raises ProbeError for an unknown label, or before the first forward.
        """
        if not self.records:
            raise ProbeError("there are no records: no forward of the probed model has attended at this site yet")
        return torch.stack([record.reduce(label, reduction) for record in self.records]).mean(0)

    @contextmanager
    def sequences(
        self, lengths: Sequence[int], *, packed: bool, key_lengths: Sequence[int] | None = None
    ) -> Iterator[None]:
        """Take the next forwards for texts of these lengths, right-padded or packed; a record has a row for each.

        Packed, input_ids are [1, sum(lengths)], position_ids restart with each text, and attention_mask is ones,
        lest transformers look for the texts itself. `key_lengths` are those of an encoder's texts. Beyond a
        length records are 0, lse −∞. Raises FieldError for lengths below 1.
        """
        former = self._sequences
        self._sequences = make_sequences(lengths, packed, key_lengths, self._sites)
        try:
            yield
        finally:
            self._sequences = former

    def turn(self, module: nn.Module) -> Turn:
        """Count one attention call of the forward under way, and say what it asks."""
        if torch._C._current_graph_task_id() != -1:
            return self._turn_again(module)
        if self._forward is None:
            if self._sequences is not None:
                raise ProbeError("sequences hold for forwards of the probed model, not for a part of it on its own")
            return Turn()
        site = self._sites[module]
        layer = self._forward.count(site)
        chosen = site == self._site and layer in self._layers
        self._decisions.setdefault(module, set()).add(chosen)
        if chosen and self.plan.losses and self._forward.graph and not torch.is_grad_enabled():
            raise ProbeError("a layer runs without a graph: checkpoint with use_reentrant=False")
        return self._forward.turn(site, layer, chosen, first=chosen and self.model not in CHECKED)

    def _turn_again(self, module: nn.Module) -> Turn:
        decisions = self._decisions.get(module, {False})
        if len(decisions) > 1:
            raise ProbeError("layers that share a module can only be checkpointed if all or none of them are probed")
        return Turn(self._sites[module], chosen=True in decisions, again=True)

    def keep(self, turn: Turn, measured: Measured) -> None:
        """Add the record of a layer."""
        scores = measured.inputs.scores
        CHECKED.add(self.model)
        self.records.append(
            AttentionRecord(
                site=turn.site,
                layer=turn.layer,
                heads=self.plan.heads,
                values=measured.values,
                losses=measured.losses,
                terms=measured.terms,
                counts=scores.counts.expand(scores.shape[:3]),
                keys=scores.shape[3],
                scores=scores if self.plan.keep_scores else None,
                backend=measured.backend,
            )
        )

    def _begin(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        check_registered()
        self.records = []
        self._decisions = {}
        self._forward = Forward.of(module, args, kwargs, self._sequences)
        RUNNING.stack.append(self._sequences)

    def _end(self, module: nn.Module, args: object, output: object) -> None:
        if self._forward is not None and output is None:
            self._close()

    def _verify(self, module: nn.Module, args: object, output: object) -> None:
        forward = self._forward
        self._close()
        if forward is None or self.plan.empty or (self._site == "encoder" and forward.encoded):
            return
        if (found := forward.calls.get(self._site, 0)) != self._expected:
            raise ProbeError(
                f"the {self._site} has {self._expected} attention layers, but {found} went through the attention "
                "interface: the model has layers of another kind, or attends on its own"
            )

    def _close(self) -> None:
        self._forward = None
        RUNNING.stack.pop()


def probe(
    model: nn.Module,
    *,
    returns: Sequence[str] = (),
    losses: Sequence[Mapping[str, Any]] = (),
    layers: Sequence[int] | None = None,
    heads: Sequence[int] | None = None,
    site: Site | None = None,
    top_k: int | None = None,
    queries: tuple[int, int] | None = None,
    keys: tuple[int, int] | None = None,
    keep_scores: bool = False,
    backend: str = "auto",
) -> Probe:
    """Prepare a probe of a transformers model, a context.

    In `with probe(model, returns=["entropy"], layers=[0, -1]) as p:` each forward of the model leaves
    `p.records`. `returns` names statistics as in `attnloss.attention`, and `top_k`, `queries` and `keys` are
    those of it; each of `losses` is {"name", "label", parameters}; layers and heads may be negative, None is
    all. `site` is encoder, decoder or cross, by default the only one, of an encoder-decoder cross. The attention
    implementation is switched on entry, and back on exit unless `install` had switched it for good. Padded
    queries attend to nothing and count in no mean: they are known from attention_mask, and for cross from
    decoder_attention_mask.

    Raises FieldError (a ValueError) naming the argument, ProbeError on entry for a model that cannot be probed.
    """
    known = sites(model)
    chosen = check_site(site, known)
    for name in returns:
        if name not in STATISTICS:
            raise FieldError("returns", (), f"returns must name some of {', '.join(STATISTICS)}; got {name!r}")
    if "top" in returns and top_k is None:
        raise FieldError("top_k", (), "top_k must be given when top is asked for, got None")
    plan = Plan(
        returns=tuple(dict.fromkeys(returns)),
        losses=_labelled(losses),
        top_k=top_k,
        window=(queries, keys),
        keep_scores=keep_scores,
        heads=_places("heads", heads, heads_of(model, chosen)),
        backend=backend,
    )
    some = () if plan.empty else _places("layers", layers, known[chosen])
    return Probe(model, plan, chosen, frozenset(some), known[chosen])


def _labelled(losses: Sequence[Mapping[str, Any]]) -> dict[str, tuple[str, Mapping[str, Any]]]:
    labelled: dict[str, tuple[str, Mapping[str, Any]]] = {}
    for place, given in enumerate(losses):
        parameters = {name: value for name, value in given.items() if name not in ("name", "label")}
        label = given.get("label", given.get("name"))
        check_parameters(given.get("name", ""), parameters)
        if label in labelled:
            raise FieldError("losses", (place,), f"losses[{place}]: label {label!r} is taken; give each its own")
        labelled[label] = given["name"], parameters
    return labelled


def _places(field: str, given: Sequence[int] | None, count: int) -> tuple[int, ...]:
    """Check layers or heads, count negative ones from the end, and sort them."""
    for place, number in enumerate(given or ()):
        if not -count <= number < count:
            bounds = f"within {-count}…{count - 1}"
            raise FieldError(field, (place,), f"{field}[{place}] must be {bounds}, got {number}")
    if given is not None and not given:
        raise FieldError(field, (), f"{field} must name at least one, got none")
    return tuple(range(count)) if given is None else tuple(sorted({number % count for number in given}))
