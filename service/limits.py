"""What a job costs and how large its answer gets, told before anything is computed."""

from collections.abc import Sequence

from attnloss.shapes import Shapes
from service.errors import TooLarge
from service.schemas import TensorRequest
from service.settings import Settings

_GRADIENT_PASSES = 3
_JSON_BYTES_PER_NUMBER = {"float32": 12, "float64": 20}
_ADVICE = "ask for fewer returns, top_k instead of weights, a window of them (queries, keys), base64 or binary"


def check_limits(
    shapes: Shapes,
    returns: Sequence[str],
    request: TensorRequest,
    settings: Settings,
    *,
    extra: int = 0,
    binary: bool = False,
) -> int:
    """The job's cost: score elements, and what its losses take `extra`; three times as much with gradients.

    A `binary` answer is as large as its arrays.

    Raises:
        TooLarge: cost or answer over its limit; says the limit, the size and what to ask for instead.

    """
    cost = (shapes.cost + extra) * (_GRADIENT_PASSES if "grad" in returns else 1)
    if cost > settings.max_job_cost:
        raise TooLarge(
            f"The job costs {cost} score elements (batch × heads × n × m, and what its losses take besides), the limit "
            f"is {settings.max_job_cost}; ask for fewer queries or losses at once, or no grad (3 passes)."
        )
    numbers = sum(_numbers(name, shapes, request) for name in returns)
    answer_bytes = round(numbers * _bytes_per_number(request, binary=binary))
    if answer_bytes > settings.max_answer_bytes:
        raise TooLarge(
            f"The answer would take about {answer_bytes} bytes, the limit is {settings.max_answer_bytes}; {_ADVICE}."
        )
    return cost


def check_answer(size_bytes: int, settings: Settings) -> None:
    """Refuse an encoded answer over the limit, which the estimate let through."""
    if size_bytes > settings.max_answer_bytes:
        raise TooLarge(f"The answer takes {size_bytes} bytes, the limit is {settings.max_answer_bytes}; {_ADVICE}.")


def _bytes_per_number(request: TensorRequest, *, binary: bool) -> float:
    carrier = "float64" if request.dtype == "float64" else "float32"
    if binary or request.encoding == "base64":
        return {"float32": 4, "float64": 8}[carrier] * (1 if binary else 4 / 3)
    return _JSON_BYTES_PER_NUMBER[carrier]


def _numbers(name: str, shapes: Shapes, request: TensorRequest) -> int:
    """Numbers in one part of the answer."""
    rows, columns = shapes.batch * shapes.heads * shapes.n, shapes.batch * shapes.heads * shapes.m
    if name == "weights":
        queries, keys = request.queries or [0, shapes.n], request.keys or [0, shapes.m]
        return shapes.batch * shapes.heads * (queries[1] - queries[0]) * (keys[1] - keys[0])
    if name == "grad":
        return request.query.size + request.key.size + (0 if request.value is None else request.value.size)
    losses = len(getattr(request, "losses", None) or [None])
    return {
        "output": rows * (shapes.value_d or 0),
        "received": columns,
        "top": 2 * rows * (request.top_k or 0),
        "per_query": rows * losses,
        "loss": losses * (rows if getattr(request, "reduction", None) == "none" else 1),
    }.get(name, rows)
