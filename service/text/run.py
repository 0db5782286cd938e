"""A batch of text jobs through their model, and one answer for each."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from attnloss.loss import Loss, evaluate_losses
from attnloss.losses import build
from attnloss.score_map import ScoreMap
from service.job import Job
from service.text import answers
from service.text.forward import Forwarded, Needs, TokenSequence, forward
from service.text.orders import summary
from service.text.prepare import Prepared, Text

_SCORES = "chunked"
"""What computes token losses: chunks of tokens × vocabulary, on every device."""

_Place = tuple[int, int]
"""A job of the batch and a text of the job."""


def text_results(jobs: tuple[Job, ...], max_batch_tokens: int) -> list[dict[str, Any]]:
    """What each job asked for; the weights, statistics and token losses of a text come from one forward."""
    ready: list[Prepared] = [job.prepared for job in jobs]
    places = [(j, k) for j, each in enumerate(ready) for k in range(len(each.texts))]
    results = {place: answers.named(ready[place[0]].texts[place[1]], jobs[place[0]].options) for place in places}
    head = ready[0]
    if head.student is not None:
        for _, k in places:
            results[0, k] |= _compared(head, head.texts[k], jobs[0].options)
    else:
        _forward_mains(jobs, ready, places, results, max_batch_tokens)
        _forward_others(jobs, ready, places, results, max_batch_tokens)
    return [_answer(each, [results[j, k] for k in range(len(each.texts))]) for j, each in enumerate(ready)]


def _answer(ready: Prepared, results: list[dict[str, Any]]) -> dict[str, Any]:
    backends = sorted({name for result in results for name in result.pop("backends", ())})
    if "chunked" in backends:  # beside a kernel it comes second, as everywhere
        backends.append(backends.pop(backends.index("chunked")))
    named: dict[str, Any] = {"model": ready.model.name}
    if ready.student is not None:
        named = {"teacher": ready.model.name, "student": ready.student.name}
    if backends:
        named["backend"] = "+".join(backends)
    return named | {"results": results, "device": str(ready.model.device)}


def _forward_mains(
    jobs: tuple[Job, ...],
    ready: list[Prepared],
    places: list[_Place],
    results: dict[_Place, dict[str, Any]],
    max_batch_tokens: int,
) -> None:
    needs = ready[0].needs
    if not (needs.probes or needs.scores):
        return
    places = [(j, k) for j, k in places if not ready[j].texts[k].windows]
    sequences = [ready[j].texts[k].main for j, k in places]
    for batch, forwarded in forward(ready[0].model, sequences, needs, max_batch_tokens):
        for i, came in zip(batch, forwarded, strict=True):
            j, k = places[i]
            text, options = ready[j].texts[k], jobs[j].options
            if came.log_probs is not None:
                results[j, k] |= answers.scores(text, options, came, ready[j].model.tokenizer)
                results[j, k]["backends"] = {_SCORES}
            if came.records:
                results[j, k] |= answers.layers(text, ready[j], options, came)
                used = {name for record in came.records for name in record.backend.split("+")}
                results[j, k]["backends"] = used | results[j, k].get("backends", set())


def _forward_others(
    jobs: tuple[Job, ...],
    ready: list[Prepared],
    places: list[_Place],
    results: dict[_Place, dict[str, Any]],
    max_batch_tokens: int,
) -> None:
    """Windows of long texts and other orders of words, all of them sequences that only need scores."""
    owners = [(place, s) for place in places for s in range(len(ready[place[0]].texts[place[1]].sequences))]
    sequences = [ready[j].texts[k].sequences[s] for (j, k), s in owners]
    needs = Needs(scores=True, alternatives=jobs[0].prepared.needs.alternatives if ready[0].texts[0].windows else 0)
    found: dict[tuple[_Place, int], Forwarded] = {}
    for batch, forwarded in forward(ready[0].model, sequences, needs, max_batch_tokens):
        found |= {owners[i]: came for i, came in zip(batch, forwarded, strict=True)}
    for j, k in places:
        text, options = ready[j].texts[k], jobs[j].options
        if text.sequences:
            results[j, k].setdefault("backends", set()).add(_SCORES)
        came = [found[(j, k), s] for s in range(len(text.sequences))]
        if text.windows:
            results[j, k] |= answers.scores(text, options, _joined(text, came), ready[j].model.tokenizer)
        elif options.get("order") is not None:
            nats = [-float(np.nansum(np.asarray(each.log_probs))) for each in came]
            own = options["text"][k]
            results[j, k]["order"] = summary(own, nats[0], list(zip(text.orders, nats[1:], strict=True)))


def _joined(text: Text, came: list[Forwarded]) -> Forwarded:
    """The scores of windows, each token's from the window that scores it."""
    n = len(text.encoding.ids)
    log_probs = np.full(n, np.nan)
    likeliest: list[np.ndarray] = []
    for window, each in zip(text.windows, came, strict=True):
        assert each.log_probs is not None
        own = slice(window.first_scored - window.start, window.stop - window.start)
        log_probs[window.first_scored : window.stop] = each.log_probs[own]
        if each.likeliest is not None:
            if not likeliest:
                k = each.likeliest[0].shape[1]
                likeliest = [np.full((n, k), -1, np.int64), np.full((n, k), np.nan, np.float32)]
            for whole, part in zip(likeliest, each.likeliest, strict=True):
                whole[window.first_scored : window.stop] = part[own]
    return Forwarded(log_probs, (likeliest[0], likeliest[1]) if likeliest else None)


@torch.inference_mode()
def _compared(ready: Prepared, text: Text, options: dict[str, Any]) -> dict[str, Any]:
    """`pairs`: the losses between the teacher's and the student's maps; P is the teacher's."""
    assert ready.student is not None
    sides = []
    for side, model in enumerate((ready.model, ready.student)):
        layers = tuple(dict.fromkeys(pair[side] for pair in ready.pairs))
        needs = replace(ready.needs, layers=layers)
        ((_, (came,)),) = forward(model, [text.main], needs, len(text.main))
        sides.append({record.layer: record for record in came.records})
    entries = options["losses"] or [{"name": "kl", "label": None}]
    answer: list[dict[str, Any]] = []
    backends: set[str] = set()
    for i, j in ready.pairs:
        teacher, student = sides[0][i], sides[1][j]
        assert teacher.scores is not None
        assert student.scores is not None
        losses = {}
        for entry in entries:
            parameters = {key: v for key, v in entry.items() if key not in ("name", "label") and v is not None}
            loss = build(entry["name"], teacher.scores, parameters | {"other": student.scores})
            values, evaluation = evaluate_losses(teacher.scores, {"": loss})
            backends.update(evaluation.backend.split("+"))
            reduced = _reduced(loss, values[""], teacher.scores, options["reduction"])
            losses[entry["label"] or entry["name"]] = reduced
        answer.append({"teacher_layer": i, "student_layer": j, "losses": losses})
    return {"pairs": answer, "backends": backends}


def _reduced(loss: Loss, values: Tensor, teacher: ScoreMap, reduction: str) -> Any:
    counts = teacher.counts.expand(teacher.shape[:3])
    if loss.own_reduction is not None or loss.unit == "batch":
        return float(loss.reduce(values, counts, teacher.shape[3], reduction).reshape(()))
    if reduction == "none":
        return np.ascontiguousarray(values[0].cpu().numpy())
    heads = range(values.shape[1])
    reduced = [loss.reduce(values[:, h : h + 1], counts[:, h : h + 1], teacher.shape[3], reduction) for h in heads]
    return np.array([float(value) for value in reduced], np.float32)


__all__ = ["TokenSequence", "text_results"]
