"""A batch of text jobs through their model, and one answer for each."""

import time
from collections.abc import Callable, Container, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from attnloss.loss import evaluate_losses
from attnloss.losses import build
from service.errors import DeadlinePassed, Invalid, path_of
from service.job import Job
from service.text import answers
from service.text.completions import Prompts, prompt_results
from service.text.forward import Needs, SequenceRefused, forward
from service.text.orders import summary
from service.text.prepare import Prepared, Text
from service.text.token_scores import Forwarded

_SCORES = "chunked"
"""What computes token losses: chunks of tokens × vocabulary, on every device."""

_Place = tuple[int, int]
"""A job of the batch and a text of the job."""

_Batch = tuple[list[int], list[Forwarded]]
_Forward = Callable[..., Iterator[_Batch]]


def text_results(
    jobs: tuple[Job, ...],
    max_batch_tokens: int,
    cancelled: Container[bytes] = frozenset(),
    pause: Callable[[], None] = lambda: None,
) -> list[dict[str, Any]]:
    """What each job asked for; the weights, statistics and token losses of a text come from one forward.

    `pause` is called before every forward. Raises Invalid for what only the maps tell, and DeadlinePassed once all jobs
    are late or among `cancelled`.
    """

    def given_up() -> bool:
        pause()
        now = time.monotonic()
        return all(job.deadline_s <= now or job.id in cancelled for job in jobs)

    if isinstance(jobs[0].prepared, Prompts):
        model = jobs[0].prepared.model
        run = partial(forward, model, max_batch_tokens=max_batch_tokens, given_up=given_up)
        return prompt_results([job.prepared for job in jobs], run)
    ready: list[Prepared] = [job.prepared for job in jobs]
    places = [(j, k) for j, each in enumerate(ready) for k in range(len(each.texts))]
    results = {
        place: answers.named(ready[place[0]].texts[place[1]], ready[place[0]], jobs[place[0]].options)
        for place in places
    }
    head = ready[0]
    if head.student is not None:
        for _, k in places:
            if given_up():
                raise DeadlinePassed("The deadline passed during the computation.")
            results[0, k] |= _compared(head, head.texts[k], jobs[0].options)
    else:
        run = partial(forward, ready[0].model, max_batch_tokens=max_batch_tokens, given_up=given_up)
        _forward_mains(jobs, ready, places, results, run)
        _forward_others(jobs, ready, places, results, run)
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
    run: _Forward,
) -> None:
    needs = ready[0].needs
    if not (needs.probes or needs.scores):
        return
    places = [(j, k) for j, k in places if not ready[j].texts[k].windows]
    sequences = [ready[j].texts[k].main for j, k in places]
    for batch, forwarded in _placed(run(sequences=sequences, needs=needs), jobs, places):
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


def _placed(batches: Iterator[_Batch], jobs: tuple[Job, ...], places: list[_Place]) -> Iterator[_Batch]:
    """The batches; what does not fit is told by the text that it is of, since no request has a query of its own."""
    try:
        yield from batches
    except SequenceRefused as refused:
        j, k = places[refused.place]
        field, _, last = refused.error.field.rpartition(".")
        if last != "query":
            field = refused.error.field
        which = f"of text[{k}]: " if len(jobs[j].options["text"]) > 1 else ""
        raise Invalid.field(
            path_of(field or "losses", *refused.error.index * (last != "query")), which + str(refused)
        ) from None


def _forward_others(
    jobs: tuple[Job, ...],
    ready: list[Prepared],
    places: list[_Place],
    results: dict[_Place, dict[str, Any]],
    run: _Forward,
) -> None:
    """Windows of long texts and other orders of words, all of them sequences that only need scores."""
    owners = [(place, s) for place in places for s in range(len(ready[place[0]].texts[place[1]].sequences))]
    sequences = [ready[j].texts[k].sequences[s] for (j, k), s in owners]
    needs = Needs(scores=True, alternatives=jobs[0].prepared.needs.alternatives if ready[0].texts[0].windows else 0)
    found: dict[tuple[_Place, int], Forwarded] = {}
    for batch, forwarded in run(sequences=sequences, needs=needs):
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
            compared = values[""]
            counts = teacher.scores.counts.expand(teacher.scores.shape[:3])
            if loss.unit != "batch" and loss.own_reduction is None:
                order = [teacher.heads.index(head) for head in ready.needs.heads or teacher.heads]
                compared, counts = compared[:, order], counts[:, order]
            reduced = answers.by_head(loss, compared, counts, teacher.keys, options["reduction"])
            losses[entry["label"] or entry["name"]] = reduced
        answer.append({"teacher_layer": i, "student_layer": j, "losses": losses})
    return {"pairs": answer, "backends": backends}
