"""What a text job costs and how large its answer gets, told before anything goes through the model."""

from typing import TYPE_CHECKING, Any

from attnloss.registry import LOSSES
from service.errors import TooLarge
from service.settings import Settings
from service.text import checks
from service.text.models import TextModel
from service.text.windows import count_windows

if TYPE_CHECKING:
    from service.text.prepare import Prepared, Text

_NUMBER_BYTES = {"json": 12, "base64": 16 / 3}
_TOKEN_BYTES = 40
"""Of a token's string, its offsets and its log-probability."""
_ALTERNATIVE_BYTES = 64
_MOST_HELD_BYTES = 1 << 30
"""Of weights that are computed for a text and not answered as they are."""


class Budget:
    """Adds up the cost of a job while its texts are tokenised. Raises TooLarge as soon as it is over a limit.

    The cost is in score elements: layers × heads × n² of every sequence, and as much again for each further pass of a
    loss; a comparison takes heads × n² for each pair of layers and each loss. Tokens are those of all sequences.
    """

    def __init__(self, options: dict[str, Any], models: list[TextModel], site: str, settings: Settings) -> None:
        self.cost = 0
        self._tokens = 0
        self._settings = settings
        self._maps = sum(count * model.heads[each] for model in models for each, count in model.layers.items())
        losses = options.get("losses") or []
        self._main = self._maps
        if len(models) == 1:
            asked = len(options["layers"] or range(models[0].layers[site]))
            asked *= len(options["heads"] or range(models[0].heads[site]))
            self._main += asked * sum(LOSSES[loss["name"]].passes for loss in losses)

    def compare(self, pairs: int, losses: list[str], heads: int) -> None:
        """Count the comparisons of a teacher with a student."""
        self._main += pairs * heads * sum(1 + LOSSES[name].passes for name in losses)

    def add_main(self, n: int) -> None:
        """Count a sequence that gives all that is asked."""
        self._add(self._main * n * n, n)

    def add_windows(self, n: int, context: int, stride: int) -> None:
        """Count the windows of a long text."""
        windows, width = count_windows(n, context, stride), min(n, context)
        self._add(self._maps * width * width * windows, width * windows)

    def add_orders(self, n: int, orders: int) -> None:
        """Count other orders of a text of n tokens."""
        self._add(self._maps * n * n * orders, n * orders)

    def _add(self, cost: int, tokens: int) -> None:
        self.cost += cost
        self._tokens += tokens
        advice = "send fewer or shorter texts, fewer permutations or losses, or a larger stride"
        if self.cost > self._settings.max_job_cost:
            limit = self._settings.max_job_cost
            raise TooLarge(f"The job costs {self.cost} score elements or more, the limit is {limit}; {advice}.")
        if self._tokens > self._settings.max_job_tokens:
            limit = self._settings.max_job_tokens
            raise TooLarge(f"The job has {self._tokens} tokens or more, the limit is {limit}; {advice}.")


def check_answer(options: dict[str, Any], ready: "Prepared", settings: Settings) -> None:
    """Refuse an answer that would be over its limit, or take too much memory on its way."""
    size = held = 0.0
    layers = len(ready.needs.layers or range(ready.model.layers[ready.site]))
    heads = len(ready.needs.heads or range(ready.model.heads[ready.site]))
    for text in ready.texts:
        rows, columns = text.size(ready.site)
        size += _NUMBER_BYTES[options["encoding"]] * layers * heads * _numbers(options, text, ready)
        size += _TOKEN_BYTES * (rows + columns) + _ALTERNATIVE_BYTES * max(rows, columns) * ready.needs.alternatives
        size += sum(len(order.encode()) + 32 for order in text.orders)
        size += _NUMBER_BYTES[options["encoding"]] * _compared(options, ready, rows)
        if "weights" in ready.needs.statistics and ready.needs.queries is None:
            held = max(held, 4.0 * layers * heads * rows * columns)
    advice = "ask for fewer layers or heads, top_k instead of weights, a window of them, or encoding base64"
    if size > settings.max_answer_bytes:
        limit = settings.max_answer_bytes
        raise TooLarge(f"The answer would take about {size:.0f} bytes, the limit is {limit}; {advice}.")
    if held > _MOST_HELD_BYTES:
        raise TooLarge(f"The weights of a text would take {held:.0f} bytes, the limit is {_MOST_HELD_BYTES}; {advice}.")


def _numbers(options: dict[str, Any], text: "Text", ready: "Prepared") -> int:
    """Numbers of each layer and head."""
    rows, columns = text.size(ready.site)
    units = (text.words(rows), text.words(columns)) if options["aggregate"] else (rows, columns)
    queries, keys = (_window(options[name], count) for name, count in zip(("queries", "keys"), units, strict=True))
    each = {"weights": queries * keys, "received": units[1], "top": 2 * rows * (options["top_k"] or 0)}
    asked = checks.statistics(options)
    per_query = options.get("reduction") == "none"
    return sum(each.get(name, units[0]) for name in asked) + len(ready.needs.losses) * (units[0] if per_query else 1)


def _compared(options: dict[str, Any], ready: "Prepared", rows: int) -> int:
    heads = len(ready.needs.heads or range(ready.model.heads[ready.site]))
    each = heads * (rows if options.get("reduction") == "none" else 1)
    return len(ready.pairs) * len(options.get("losses") or [None]) * each


def _window(asked: list[int] | None, whole: int) -> int:
    return whole if asked is None else asked[1] - asked[0]
