"""Whether a model can do what is asked of it, told before anything is tokenised."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from attnloss.registry import LOSSES
from service.errors import Invalid
from service.text.encoding import encode
from service.text.models import TextModel

if TYPE_CHECKING:
    from service.text.prepare import Text


def site(options: dict[str, Any], model: TextModel) -> str:
    """Which attention is asked for. Raises Invalid for what the model has not."""
    decodes = options["target_text"] is not None
    if decodes and model.kind != "encoder-decoder":
        raise Invalid.field("target_text", f"{model.name} is no encoder-decoder model, it reads `text` alone")
    found: str = options["site"] or ("cross" if decodes else "encoder" if "encoder" in model.layers else "decoder")
    if found not in model.layers:
        raise Invalid.field("site", f"{model.name} has {' and '.join(model.layers)}, came {found}")
    if model.kind == "encoder-decoder" and found != "encoder" and not decodes:
        raise Invalid.field("target_text", f"needed for {found} attention of {model.name}, an encoder-decoder model")
    if options["endpoint"] == "loss" and options["teacher"] is None:
        _check_scores(options, model)
    if options["reorder"] is not None and found != "encoder" and model.kind == "encoder-decoder":
        raise Invalid.field("reorder", "orders the words of `text` by attention among themselves: site encoder")
    return found


def statistics(options: dict[str, Any]) -> list[str]:
    """What is asked of the attention maps, each once."""
    return [name for name in dict.fromkeys(options["returns"]) if name not in ("loss", "alternatives")]


def scores_tokens(options: dict[str, Any], model: TextModel) -> bool:
    """Whether token losses are asked for; not by default where the model has none and losses of maps are asked for."""
    returns = set(options["returns"])
    if options["endpoint"] != "loss" or options["teacher"] is not None or not returns & {"loss", "alternatives"}:
        return False
    gives = model.kind == "causal" or (model.kind == "encoder-decoder" and options["target_text"] is not None)
    return gives or not (options["losses"] and returns == {"loss"})


def _check_scores(options: dict[str, Any], model: TextModel) -> None:
    if model.kind == "encoder":
        if scores_tokens(options, model) or options["order"] is not None or options["stride"] is not None:
            why = "is an encoder: each token sees those after it, so there is no loss of predicting them"
            advice = "ask for `losses` over its attention, or a causal model"
            raise Invalid.field("model", f"{model.name} {why}; {advice}")
    elif model.kind == "encoder-decoder":
        for name in ("order", "stride"):
            if options[name] is not None:
                raise Invalid.field(name, f"needs a causal model, {model.name} is an encoder-decoder")
        if scores_tokens(options, model) and options["target_text"] is None:
            raise Invalid.field("target_text", f"needed: {model.name}, an encoder-decoder, scores it given `text`")
    if options["order"] is not None and model.bos is None:
        raise Invalid.field("order", f"{model.name} has no token to begin a text with, so first words have no nats")


def pairs(options: dict[str, Any], teacher: TextModel, student: TextModel | None, site: str) -> list[list[int]]:
    """Layers [teacher's, student's] to compare, non-negative. Raises Invalid where they cannot be."""
    if student is None:
        return []
    if site not in student.layers:
        raise Invalid.field("student", f"{student.name} has no {site} attention, {teacher.name} has")
    counts = teacher.layers[site], student.layers[site]
    pairs: list[list[int]] | None = options["layers"]
    if pairs is None:
        if counts[0] != counts[1]:
            raise Invalid.field("layers", f"needed: the teacher has {counts[0]} layers, the student {counts[1]}")
        pairs = [[i, i] for i in range(counts[0])]
    for k, pair in enumerate(pairs):
        for layer, count, name in zip(pair, counts, ("teacher", "student"), strict=True):
            if not -count <= layer < count:
                raise Invalid.field(f"layers[{k}]", f"the {name} has {count} layers, came {layer}")
    found = [[layer % count for layer, count in zip(pair, counts, strict=True)] for pair in pairs]
    for k, pair in enumerate(found):
        if pair in found[:k]:
            raise Invalid.field(f"layers[{k}]", f"the pair {pair} stands before")
    if teacher.heads[site] != student.heads[site]:
        came = (
            f"the teacher has {teacher.heads[site]} heads, the student {student.heads[site]}; maps compare one by one"
        )
        raise Invalid.field("student", came)
    return found


def check_places(name: str, asked: Sequence[int] | None, count: int) -> None:
    """Raise Invalid for a layer or a head that is not there, or is named twice."""
    for k, place in enumerate(asked or ()):
        if not -count <= place < count:
            raise Invalid.field(f"{name}[{k}]", f"expected {-count}…{count - 1}, came {place}")
    numbers = [place % count for place in asked or ()]
    if len(set(numbers)) < len(numbers):
        raise Invalid.field(name, f"names one twice: {list(asked or ())}")


def fits(options: dict[str, Any], n: int, m: int) -> None:
    """Raise Invalid for a window beyond a text's tokens."""
    for name, count in (("queries", n), ("keys", m)):
        if options[name] is not None and options[name][1] > count:
            raise Invalid.field(name, f"expected at most the {count} tokens of a text, came {options[name]}")


def names_keys(losses: Sequence[dict[str, Any]], m: int) -> None:
    """Raise Invalid for a loss that names a key beyond a text's tokens, which in a batch may lie within another's."""
    for i, loss in enumerate(losses):
        for parameter in LOSSES[loss["name"]].parameters:
            asked = loss.get(parameter.name) if parameter.kind == "indices" else None
            for k, key in enumerate(asked or ()):
                if key >= m:
                    expected = f"must be within 0…{m - 1}, the tokens of a text, got {key}"
                    raise Invalid.field(f"losses[{i}].{parameter.name}[{k}]", expected)


def check_same_tokens(text: "Text", student: TextModel, place: str) -> None:
    """Raise Invalid where the student would read a text as other tokens, or has no room for them."""
    for field, encoding in (("text", text.encoding), ("target_text", text.target)):
        if encoding is None:
            continue
        n = len(encoding.ids)
        most = n if text.truncated else None
        mine = encode(
            student.tokenizer, encoding.text, field=f"{field}{place}", max_tokens=most, target=field == "target_text"
        )
        if mine.ids != encoding.ids:
            raise Invalid.field("student", f"{student.name} reads {field}{place} as other tokens than the teacher")
        if student.context is not None and n > student.context:
            came = f"{n} tokens, and the context of {student.name} has {student.context}"
            raise Invalid.field(f"{field}{place}", came)
