"""Every method of the clients, once: arguments → the steps of a call, which each client drives its own way."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from service.client import json_wire, oip
from service.client.arrays import ArrayLike
from service.client.asked import Asked, asked, plain
from service.client.attributes import built, common, statistics
from service.client.errors import ConnectionFailed, Timeout, Unavailable
from service.client.results import AttentionResult, Gradients, LossResult, TextResult
from service.client.retry import Answer, Call, Session, Steps, send

BINARY_FROM_BYTES = 1 << 14
"""Arrays of so many bytes travel as they lie in memory. Over a local network lists and bytes take the same time up to
about 12 KiB, and at 24 KiB lists take a third more; below, lists name wrong elements and can be read in a log."""


@dataclass(frozen=True)
class Calls(Session):
    """The calls of a client, as steps that are still to be driven."""

    def attention(
        self,
        /,
        query: ArrayLike,
        key: ArrayLike,
        value: ArrayLike | None = None,
        *,
        causal: bool = False,
        scale: float | None = None,
        mask: ArrayLike | None = None,
        key_lengths: Sequence[int] | None = None,
        query_lengths: Sequence[int] | None = None,
        dtype: str = "float32",
        returns: str | Sequence[str] = ("output", "weights"),
        top_k: int | None = None,
        queries: Sequence[int] | None = None,
        keys: Sequence[int] | None = None,
    ) -> Steps[AttentionResult]:
        """Attention outputs, weights and their statistics.

        Args:
            query: [n, d], [batch, n, d] or [batch, heads, n, d].
            key: [m, d] with the query's leading dims; its heads divide the query's.
            value: [m, value_d] with the key's leading dims; needed for output.
            causal: a query sees the keys up to its own place, aligned to the end.
            scale: factor of the scores; None is 1/√d.
            mask: booleans, True where a query may attend: [n, m] or the shape of weights.
            key_lengths: valid keys of each batch entry.
            query_lengths: valid queries of each batch entry.
            dtype: compute type: float32, float64, bfloat16 or float16; answers are float32, or float64 if asked.
            returns: of output, weights, lse, entropy, max, received, top.
            top_k: keys of top.
            queries: [start, stop] to cut out of weights.
            keys: [start, stop] to cut out of weights.

        Raises:
            TypeError: an argument holds no numbers.
            ValueError: an argument is ragged, or holds integers beyond 64 bits.
            AttnlossError: the service refused, failed, or could not be reached in time.

        """
        tensors = {"query": query, "key": key, "value": value, "mask": mask}
        options = {"causal": causal, "scale": scale, "dtype": dtype, "top_k": top_k, "queries": queries, "keys": keys}
        lengths = {"key_lengths": key_lengths, "query_lengths": query_lengths}
        answer, fields = yield from _tensors(self, asked("attention", tensors, options | lengths, returns))
        return built(answer, lambda: AttentionResult(**statistics(fields), **common(answer, fields)))

    def loss(
        self,
        /,
        query: ArrayLike,
        key: ArrayLike,
        value: ArrayLike | None = None,
        *,
        losses: Sequence[Mapping[str, Any]] | None = None,
        probability: ArrayLike | None = None,
        reduction: str = "mean",
        causal: bool = False,
        scale: float | None = None,
        mask: ArrayLike | None = None,
        key_lengths: Sequence[int] | None = None,
        query_lengths: Sequence[int] | None = None,
        dtype: str = "float32",
        returns: str | Sequence[str] = ("loss",),
        top_k: int | None = None,
        queries: Sequence[int] | None = None,
        keys: Sequence[int] | None = None,
    ) -> Steps[LossResult]:
        """Losses over attention weights, with gradients.

        Args:
            query: as for attention.
            key: as for attention.
            value: as for attention; needed for output only.
            losses: entries with `name`, optional `weight` and `label`, and the loss's parameters, arrays among them;
                None is cross_entropy if `probability` is given, else entropy.
            probability: [n, m] or the shape of weights, for every cross_entropy that brings no target of its own.
            reduction: mean, sum or none, over all valid queries.
            causal: as for attention.
            scale: as for attention.
            mask: as for attention.
            key_lengths: as for attention.
            query_lengths: as for attention.
            dtype: as for attention.
            returns: of loss (with `losses`), per_query, grad, and what attention returns.
            top_k: as for attention.
            queries: as for attention.
            keys: as for attention.

        Raises:
            TypeError: an argument holds no numbers.
            ValueError: an argument is ragged, or holds integers beyond 64 bits.
            AttnlossError: the service refused, failed, or could not be reached in time.

        """
        tensors = {"query": query, "key": key, "value": value, "mask": mask, "probability": probability}
        options = {"causal": causal, "scale": scale, "dtype": dtype, "top_k": top_k, "queries": queries, "keys": keys}
        others = {"key_lengths": key_lengths, "query_lengths": query_lengths, "reduction": reduction}
        answer, fields = yield from _tensors(self, asked("loss", tensors, options | others, returns, losses))

        def build() -> LossResult:
            own: dict[str, Any] = {name: fields.get(name) for name in ("loss", "losses", "per_query")}
            grad = Gradients(**fields["grad"]) if "grad" in fields else None
            return LossResult(**own, grad=grad, **statistics(fields), **common(answer, fields))

        return built(answer, build)

    def attention_text(
        self, /, text: str | Sequence[str], *, model: str | None = None, **options: Any
    ) -> Steps[TextResult]:
        """A language model's attention over a text, or over each of several.

        Args:
            text: a text or a list of them.
            model: a name of `models()`; None is the first.
            options: fields of POST /attention for text: layers, heads, site, returns (weights, lse, entropy, max,
                received, top), top_k, queries, keys, target_text, truncate, aggregate, reorder.

        Raises:
            AttnlossError: the service refused, failed, or could not be reached in time.

        """
        return (yield from _text(self, "/attention", text, model, options))

    def loss_text(self, /, text: str | Sequence[str], *, model: str | None = None, **options: Any) -> Steps[TextResult]:
        """A language model's losses over a text, or over each of several.

        Args:
            text: a text or a list of them.
            model: a name of `models()`; None is the first.
            options: fields of POST /loss for text: losses, reduction, returns, top_k, layers, heads, site, target_text,
                stride, order, truncate, aggregate, reorder, teacher, student.

        Raises:
            AttnlossError: the service refused, failed, or could not be reached in time.

        """
        return (yield from _text(self, "/loss", text, model, options))

    def losses(self, /) -> Steps[list[dict[str, Any]]]:
        """Every loss: its parameters with ranges, what it needs, whether it has a gradient and values per query."""
        answer = yield from send(self, Call("GET", "/losses"))
        return built(answer, lambda: list(orjson.loads(answer.content)["losses"]))

    def models(self, /) -> Steps[list[dict[str, Any]]]:
        """The text models that the service has; the first is the default."""
        answer = yield from send(self, Call("GET", "/models"))
        return built(answer, lambda: list(orjson.loads(answer.content)["models"]))

    def ready(self, /) -> Steps[bool]:
        """Whether the service computes now; False also where nothing answers. It is asked once."""
        return (yield from _probe(self, "/health/ready"))

    def live(self, /) -> Steps[bool]:
        """Whether the service answers. It is asked once."""
        return (yield from _probe(self, "/health/live"))


def _tensors(session: Session, request: Asked) -> Steps[tuple[Answer, dict[str, Any]]]:
    """The answer and its fields, over the wire that suits the request: the only place that chooses."""
    binary = session.binary
    if binary is None:
        binary = request.bytes_moved >= BINARY_FROM_BYTES or not request.finite
    if binary and oip.fits(request):
        answer = yield from send(session, oip.call(request))
        return answer, built(answer, lambda: oip.fields(answer))
    answer = yield from send(session, json_wire.tensors_call(request, base64=binary))
    return answer, built(answer, lambda: json_wire.tensors_fields(answer, request.options["dtype"]))


def _text(
    session: Session, path: str, text: str | Sequence[str], model: str | None, options: Mapping[str, Any]
) -> Steps[TextResult]:
    """Answers are base64 unless binary is off: maps of all layers are large where texts are short."""
    given = {"model": model, **options, "return": options.get("returns")}
    fields = {name: plain(value, name) for name, value in given.items() if value is not None and name != "returns"}
    fields["text"] = text if isinstance(text, str) else list(text)
    if isinstance(fields.get("return"), str):
        fields["return"] = [fields["return"]]
    answer = yield from send(session, json_wire.fields_call(path, fields, base64=session.binary is not False))

    def build() -> TextResult:
        found = json_wire.text_fields(answer)
        own: dict[str, Any] = {name: found.get(name) for name in ("model", "teacher", "student")}
        return TextResult(results=found["results"], **own, **common(answer, found))

    return built(answer, build)


def _probe(session: Session, path: str) -> Steps[bool]:
    try:
        yield from send(session, Call("GET", path), retries=0)
    except (Unavailable, ConnectionFailed, Timeout):
        return False
    return True
