"""From a request of the protocol to the fields of the JSON API, which validate it and make it a job."""

import time
from collections.abc import Mapping
from functools import lru_cache
from itertools import chain
from typing import Any

import numpy as np

from attnloss.registry import LOSSES
from service.codec import decode_json
from service.errors import FieldProblem, Invalid, NotJson
from service.exchange import Write
from service.job import Job
from service.oip import framing
from service.oip.answer import LABELLED_OUTPUTS, LOSS_OUTPUTS, STATISTICS, written
from service.oip.schemas import AttentionInferRequest, InferParameters, InferRequest, LossInferRequest
from service.settings import Settings
from service.validate import attention_job, loss_job
from service.validation import validated

_TENSORS = {"QUERY": "query", "KEY": "key", "VALUE": "value", "MASK": "mask"}
_LENGTHS = {"KEY_LENGTHS": "key_lengths", "QUERY_LENGTHS": "query_lengths"}
INPUTS = {
    "attention": (*_TENSORS, *_LENGTHS),
    "loss": (*_TENSORS, *_LENGTHS, "TARGET", "PROBABILITY", "OTHER_QUERY", "OTHER_KEY"),
}
DEFAULT_OUTPUTS = {"attention": ["OUTPUT", "WEIGHTS"], "loss": ["LOSS"]}

_MODELS: dict[str, type[InferRequest]] = {"attention": AttentionInferRequest, "loss": LossInferRequest}
_LONGEST_KEPT_BYTES = 4096

_OWN = frozenset(InferParameters.model_fields)


def read(model: str, body: bytes, headers: Mapping[str, str], settings: Settings, job_id: bytes) -> tuple[Job, Write]:
    """The job of a request to a model, and how its result is written. Raises NotJson, Invalid or TooLarge."""
    head, binary = framing.split(body, headers)
    parse = _parsed_again if len(head) <= _LONGEST_KEPT_BYTES else _parsed
    request = parse(model, head, settings.max_json_depth)
    arrays = framing.tensors(request.inputs, binary)
    if unknown := [name for name in arrays if name not in INPUTS[model]]:
        raise Invalid.field("inputs", f"expected {', '.join(INPUTS[model])}, came {unknown[0][:64]!r}")
    asked = request.outputs or []
    names = [each.name for each in asked] or DEFAULT_OUTPUTS[model]
    wants_binary = {each.name: each.parameters.binary_data for each in asked}
    default = request.parameters.binary_data_output
    binary_outputs = {name for name in names if (default if wants_binary.get(name) is None else wants_binary[name])}
    given = request.parameters.model_dump(exclude=set(_OWN), exclude_unset=True)
    given |= {_TENSORS[name]: array for name, array in arrays.items() if name in _TENSORS}
    given |= {field: _lengths(name, arrays[name]) for name, field in _LENGTHS.items() if name in arrays}
    given["return"] = _returns(model, names)
    try:
        if model == "loss":
            _give_to_losses(given, arrays)
        job = (loss_job if model == "loss" else attention_job)(
            given, settings, job_id, binary=len(binary_outputs) == len(names)
        )
    except Invalid as error:
        raise _in_its_words(error) from None
    if model == "loss":
        _check_labels(names, job)
    if request.parameters.timeout:
        job = job.due(min(job.deadline_s, time.monotonic() + request.parameters.timeout / 1e6))
    number = np.float64 if job.options["dtype"] == "float64" else np.float32
    return job, lambda result: written(result, model, request.id, names, binary_outputs, number)


def _parsed(model: str, head: bytes, max_depth: int) -> InferRequest:
    fields = decode_json(head, {"data": "any"}, max_depth=max_depth)
    _refuse_unknown_parameters(fields, model)
    return validated(_MODELS[model], fields)


_parsed_again = lru_cache(maxsize=256)(_parsed)
"""Clients whose tensors are binary send the same header again and again: parsing it is half of reading a request."""


def _refuse_unknown_parameters(fields: dict[str, Any], model: str) -> None:
    """Another status than other wrong fields have: the protocol calls it a bad request."""
    given = fields.get("parameters")
    known = _MODELS[model].model_fields["parameters"].annotation
    assert known is not None
    for name in given if isinstance(given, dict) else ():
        if name not in known.model_fields:
            expected = ", ".join(name for name in known.model_fields if name not in _OWN)
            raise NotJson(f"parameters.{name[:64]}: unknown parameter of {model}, which has {expected}.")


def _lengths(name: str, array: np.ndarray) -> list[int]:
    if array.dtype.kind not in "iu" or array.ndim != 1:
        raise Invalid.field(name, f"expected integers of shape [batch], came {array.dtype.name} {list(array.shape)}")
    lengths: list[int] = array.tolist()
    return lengths


def _returns(model: str, names: list[str]) -> list[str]:
    """What the JSON API calls the outputs. Raises Invalid for one that the model has not."""
    returns: list[str] = []
    for i, name in enumerate(names):
        found = STATISTICS.get(name)
        if found is None and model == "loss":
            labelled = (asked for prefix, asked in LABELLED_OUTPUTS.items() if name.startswith(prefix))
            found = LOSS_OUTPUTS.get(name) or next(labelled, None)
        if found is None:
            labelled_names = [f"{prefix}<label>" for prefix in LABELLED_OUTPUTS]
            known = [*STATISTICS, *([*LOSS_OUTPUTS, *labelled_names] * (model == "loss"))]
            raise Invalid.field(f"outputs[{i}].name", f"expected one of {', '.join(known)}, came {name[:64]!r}")
        if name in names[:i]:
            raise Invalid.field(f"outputs[{i}].name", f"{name[:64]!r} is asked for twice")
        if found not in returns:
            returns.append(found)
    return returns


def _give_to_losses(given: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Put the arrays that belong to losses where the JSON API has them."""
    if "PROBABILITY" in arrays:
        given["probability"] = arrays["PROBABILITY"]
    others = {field: arrays[name] for name, field in (("OTHER_QUERY", "query"), ("OTHER_KEY", "key")) if name in arrays}
    if "losses" not in given and "TARGET" in arrays and "PROBABILITY" not in arrays:
        given["losses"] = [{"name": "cross_entropy"}]
    entries = [entry for entry in given.get("losses") or () if isinstance(entry, dict)]
    unused = {"TARGET": ["TARGET"], "OTHER": ["OTHER_QUERY", "OTHER_KEY"]}
    for entry in entries:
        spec = LOSSES.get(str(entry.get("name")))
        parameters = () if spec is None else [parameter.name for parameter in spec.parameters]
        if "TARGET" in arrays and "target" in parameters and not {"target", "probability"} & entry.keys():
            entry["target"] = arrays["TARGET"]
            unused.pop("TARGET", None)
        if others and "other" in parameters and isinstance(entry.setdefault("other", {}), dict):
            entry["other"] = others | entry["other"]
            unused.pop("OTHER", None)
    for name in chain.from_iterable(unused.values()):
        if name in arrays:
            raise Invalid.field(name, "no loss of parameters.losses takes it")


def _check_labels(names: list[str], job: Job) -> None:
    labels = {loss["label"] for loss in job.options["losses"]}
    for i, name in enumerate(names):
        for prefix in LABELLED_OUTPUTS:
            if name.startswith(prefix) and name.removeprefix(prefix) not in labels:
                raise Invalid.field(
                    f"outputs[{i}].name", f"expected {prefix}<label> of {', '.join(sorted(labels))}, came {name[:64]!r}"
                )
        if name == "GRAD_VALUE" and "value" not in job.arrays:
            raise Invalid.field(f"outputs[{i}].name", "GRAD_VALUE needs VALUE")


_WORDS = {field: name for name, field in (_TENSORS | _LENGTHS).items()} | {"probability": "PROBABILITY"}


def _in_its_words(error: Invalid) -> Invalid:
    """`query[0][3]` of the JSON API is QUERY[0][3] here, `losses[0].eps` is parameters.losses[0].eps."""
    problems = [FieldProblem(_word(problem.field), problem.message) for problem in error.errors]
    return Invalid(f"{problems[0].field}: {problems[0].message}", errors=problems) if problems else error


def _word(field: str) -> str:
    stem = field.partition("[")[0].partition(".")[0]
    if field.startswith("losses[") and field.endswith((".target", ".other.query", ".other.key")):
        return {"target": "TARGET", "query": "OTHER_QUERY", "key": "OTHER_KEY"}[field.rpartition(".")[2]]
    if stem in _WORDS:
        return _WORDS[stem] + field[len(stem) :]
    return "outputs" if field == "return" else f"parameters.{field}"
