"""From the fields of a body to a job: what is asked, whether it can be, and what it costs."""

import time
from typing import Any

import numpy as np
import orjson

from attnloss.errors import FieldError
from attnloss.shapes import Shapes, resolve_shapes
from service.arrays import as_floats, as_lengths, as_mask, check_window, in_rank_4
from service.errors import Invalid
from service.job import Job, Kind
from service.limits import check_limits
from service.losses import JobLoss, job_loss
from service.schemas import LOSS_MODELS, AttentionRequest, LossEntry, LossRequest, TensorRequest
from service.settings import Settings
from service.validation import validated


def attention_job(fields: dict[str, Any], settings: Settings, job_id: bytes, *, binary: bool = False) -> Job:
    """The job of a POST /attention body, whose answer may be `binary`. Raises Invalid or TooLarge."""
    request = validated(AttentionRequest, fields)
    return _job(
        "attention", request, _shapes(request), list(dict.fromkeys(request.returns)), [], settings, job_id, binary
    )


def loss_job(fields: dict[str, Any], settings: Settings, job_id: bytes, *, binary: bool = False) -> Job:
    """The job of a POST /loss body, whose answer may be `binary`. Raises Invalid or TooLarge."""
    request = validated(LossRequest, fields)
    entries = request.losses or [_default_loss(request)]
    if len(entries) > settings.max_losses:
        raise Invalid.field("losses", f"expected at most {settings.max_losses}, came {len(entries)}")
    shapes = _shapes(request)
    losses = [job_loss(entry, f"losses[{i}]", request, shapes) for i, entry in enumerate(entries)]
    if request.probability is not None and not any("probability" in loss.arrays for loss in losses):
        raise Invalid.field("probability", "no cross_entropy without a target of its own takes it")
    labels = [loss.label for loss in losses]
    for i, label in enumerate(labels):
        if label in labels[:i]:
            raise Invalid.field(f"losses[{i}].label", f"{label!r} is taken by losses[{labels.index(label)}]")
    return _job("loss", request, shapes, list(dict.fromkeys(request.returns)), losses, settings, job_id, binary)


def _default_loss(request: LossRequest) -> LossEntry:
    name = "entropy" if request.probability is None else "cross_entropy"
    return LOSS_MODELS[name].model_validate({"name": name})


def _shapes(request: TensorRequest) -> Shapes:
    try:
        return resolve_shapes(
            request.query.shape, request.key.shape, None if request.value is None else request.value.shape
        )
    except FieldError as error:
        raise Invalid.field(error.field, str(error)) from None


def _job(
    kind: Kind,
    request: TensorRequest,
    shapes: Shapes,
    returns: list[str],
    losses: list[JobLoss],
    settings: Settings,
    job_id: bytes,
    binary: bool,
) -> Job:
    _check_returns(request, returns, shapes)
    arrays = _arrays(request, shapes)
    for i, loss in enumerate(losses):
        arrays |= {f"losses.{i}.{key}": array for key, array in loss.arrays.items()}
    options = {
        "rank": shapes.rank,
        "dtype": request.dtype,
        "causal": request.causal,
        "scale": request.scale,
        "returns": returns,
        "top_k": request.top_k,
        "queries": request.queries,
        "keys": request.keys,
        "losses": [loss.options for loss in losses],
        "reduction": getattr(request, "reduction", None),
    }
    now = time.monotonic()
    return Job(
        id=job_id,
        kind=kind,
        arrays=arrays,
        options=options,
        group=_group(kind, options, arrays, shapes.m),
        batch=shapes.batch,
        heads=shapes.heads,
        n=shapes.n,
        m=shapes.m,
        cost=check_limits(shapes, returns, request, settings, extra=sum(loss.cost for loss in losses), binary=binary),
        deadline_s=now + settings.deadline_s,
        arrival_s=now,
    )


def _arrays(request: TensorRequest, shapes: Shapes) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    for name in ("query", "key", "value"):
        array = getattr(request, name)
        if array is not None:
            arrays[name] = in_rank_4(as_floats(array, request.dtype, name), 2, shapes)
    if request.mask is not None:
        arrays["mask"] = as_mask(request.mask, shapes)
    for name, limit in (("query_lengths", shapes.n), ("key_lengths", shapes.m)):
        lengths = as_lengths(getattr(request, name), shapes, limit, name)
        if lengths is not None:
            arrays[name] = lengths
    return arrays


def _check_returns(request: TensorRequest, returns: list[str], shapes: Shapes) -> None:
    if "output" in returns and request.value is None:
        raise Invalid.field("value", "needed, since `return` asks for output")
    if "top" in returns and request.top_k is None:
        raise Invalid.field("top_k", "needed, since `return` asks for top")
    if request.top_k is not None and request.top_k > shapes.m:
        raise Invalid.field("top_k", f"expected at most the {shapes.m} keys, came {request.top_k}")
    check_window(request.queries, shapes.n, "queries")
    check_window(request.keys, shapes.m, "keys")


def _group(kind: Kind, options: dict[str, Any], arrays: dict[str, np.ndarray], m: int) -> str:
    """What jobs must share to be computed in one call, but for batch, n and, if no loss names keys, m."""
    shared: dict[str, Any] = {key: options[key] for key in ("dtype", "causal", "scale", "top_k", "queries", "keys")}
    shared["returns"] = sorted(options["returns"])
    shared["losses"] = [[loss["name"], loss["parameters"]] for loss in options["losses"]]
    shared["kind"] = kind
    axes = {f"losses.{i}.{key}": loss["axes"][key] for i, loss in enumerate(options["losses"]) for key in loss["axes"]}
    axes |= {"query": "bhnd", "key": "bhmd", "value": "bhmd"}
    shared["dims"] = [
        [name, None if axes[name] == "bhnk" else array.shape[1], array.shape[3]]
        for name, array in sorted(arrays.items())
        if axes.get(name, "")[-1:] in ("d", "k")
    ]
    if any(loss["by_place"] for loss in options["losses"]):
        shared["m"] = m
    shared["others"] = sorted(name for name in arrays if name == "mask" or name.startswith("losses."))
    return orjson.dumps(shared).decode()
