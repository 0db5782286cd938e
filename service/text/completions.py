"""Prompts of POST /v1/completions: read as tokens, scored together, and what came of them in columns."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import orjson

from service.errors import DeadlinePassed, Invalid, TooLarge
from service.job import Job
from service.openai.prompts import unpacked
from service.settings import Settings
from service.text.encoding import encode
from service.text.forward import Needs
from service.text.limits import Budget
from service.text.models import TextModel
from service.text.token_scores import Forwarded, TokenSequence
from service.text.tokenizing import check_ids

_TOKEN_BYTES = 64
"""Of a token in an answer: its string, its log-probabilities and its offset."""
_LIKELIEST_BYTES = 32
_PROMPT_LIKELIEST_BYTES = 80
_LEAST_LOG_PROB = -9999.0
"""What OpenAI's API gives for less."""


@dataclass(frozen=True)
class Prompts:
    """The prompts of a job: their tokens; of those that are echoed their texts, and where each token begins there."""

    model: TextModel
    needs: Needs
    sequences: list[TokenSequence]
    texts: list[str]
    starts: list[list[int]]


def read_prompts(job: Job, model: TextModel, settings: Settings, given_up: Callable[[], bool] = lambda: False) -> Job:
    """The job with its tokens and its true cost. Raises Invalid or TooLarge, or DeadlinePassed once it is given up."""
    options = job.options
    if model.kind != "causal":
        raise Invalid.field("model", f"{model.name} is an {model.kind} model; completions are of causal ones")
    budget = Budget({"layers": None, "heads": None}, [model], model.site, settings)
    sequences, texts, starts = [], [], []
    for ids, text, begins in _read(job, model):
        if given_up():
            raise DeadlinePassed("The request was given up before all its prompts were read.")
        budget.add_main(len(ids))
        sequences.append(TokenSequence(ids))
        if options["echo"]:
            text, begins = model.pieces.text(ids) if text is None else (text, begins)
            texts.append(text)
            starts.append(begins)
    needs = _needs(options, model)
    _check_answer(options, needs, sum(map(len, sequences)), settings)
    group = orjson.dumps(["completions", model.name, needs.alternatives, needs.following]).decode()
    longest = max(map(len, sequences))
    ready = Prompts(model, needs, sequences, texts, starts)
    return replace(job, prepared=ready, group=group, n=longest, m=longest, cost=budget.cost)


def _read(job: Job, model: TextModel) -> Iterator[tuple[list[int], str | None, list[int]]]:
    """The ids of each prompt; of one that came as a string it, and where its tokens begin."""
    texts: list[str] | None = job.options["text"]
    count = len(texts) if texts is not None else len(job.arrays["counts"])
    paths = [f"prompt[{i}]" if job.options["listed"] else "prompt" for i in range(count)]
    if texts is None:
        for path, ids in zip(paths, unpacked(job.arrays), strict=True):
            check_ids(ids, model, path)
            _check_length(ids, model, path)
            yield ids, None, []
        return
    for path, text in zip(paths, texts, strict=True):
        encoding = encode(model.tokenizer, text, field=path)
        _check_length(encoding.ids, model, path)
        begins = np.maximum.accumulate([start for start, _ in encoding.offsets]).tolist()
        yield encoding.ids, text, begins


def _check_length(ids: list[int], model: TextModel, path: str) -> None:
    if model.context is not None and len(ids) > model.context:
        raise Invalid.field(path, f"{len(ids)} tokens, and the context of {model.name} has {model.context}")


def _needs(options: dict[str, Any], model: TextModel) -> Needs:
    asked = options["prompt_logprobs"] or 0
    likeliest = max(options["logprobs"] or 0, model.vocabulary if asked < 0 else asked, options["max_tokens"])
    return Needs(scores=True, alternatives=min(likeliest, model.vocabulary), following=options["max_tokens"] == 1)


def _check_answer(options: dict[str, Any], needs: Needs, tokens: int, settings: Settings) -> None:
    each = _TOKEN_BYTES + _LIKELIEST_BYTES * (options["logprobs"] or 0)
    if options["prompt_logprobs"] is not None:
        asked = options["prompt_logprobs"]
        each += _PROMPT_LIKELIEST_BYTES * (1 + (needs.alternatives if asked < 0 else asked))
    if (size := each * tokens) > settings.max_answer_bytes:
        advice = "ask for fewer logprobs or prompt_logprobs, or send fewer or shorter prompts"
        limit = settings.max_answer_bytes
        raise TooLarge(f"The answer would take about {size} bytes, the limit is {limit}; {advice}.")


Run = Callable[..., Iterator[tuple[list[int], list[Forwarded]]]]


def prompt_results(ready: Sequence[Prompts], run: Run) -> list[dict[str, Any]]:
    """What came of the prompts of each job, from forwards that they share."""
    owners = [(j, k) for j, each in enumerate(ready) for k in range(len(each.sequences))]
    came: list[list[Forwarded]] = [[Forwarded()] * len(each.sequences) for each in ready]
    sequences = [ready[j].sequences[k] for j, k in owners]
    for places, forwarded in run(sequences=sequences, needs=ready[0].needs):
        for i, each in zip(places, forwarded, strict=True):
            j, k = owners[i]
            came[j][k] = each
    return [_columns(*pair) for pair in zip(ready, came, strict=True)]


def _columns(ready: Prompts, came: list[Forwarded]) -> dict[str, Any]:
    """All prompts of a job behind one another; `strings` are those of `string_ids`.

    Each has a row of `log_probs` and `likeliest` for every token, the first of which says nothing.
    """
    ids = np.concatenate([each.ids for each in ready.sequences])
    columns: dict[str, Any] = {
        "counts": np.array([len(each) for each in ready.sequences]),
        "ids": ids,
        "log_probs": _bounded([each.log_probs for each in came]),
        "texts": ready.texts,
        "starts": np.array([start for starts in ready.starts for start in starts], np.int64),
        "eos": ready.model.tokenizer.eos_token_id,
    }
    found = [ids]
    if ready.needs.alternatives:
        likeliest = [each.likeliest for each in came if each.likeliest is not None]
        columns["likeliest"] = np.maximum(np.concatenate([indices for indices, _ in likeliest]), 0)
        columns["likeliest_log_probs"] = _bounded([values for _, values in likeliest])
        found.append(columns["likeliest"].ravel())
    if ready.needs.following:
        following = [each.following for each in came if each.following is not None]
        columns["following"] = np.stack([indices for indices, _ in following])
        columns["following_log_probs"] = _bounded([values[None] for _, values in following])
        found.append(columns["following"].ravel())
    unique = np.unique(np.concatenate(found))
    columns |= {"string_ids": unique, "strings": ready.model.pieces.of(unique.tolist())}
    return {"model": ready.model.name, "columns": columns, "device": str(ready.model.device)}


def _bounded(parts: Sequence[np.ndarray | None]) -> np.ndarray:
    """Log-probabilities as they are answered, to the digits of a float32; 0 where there is none."""
    whole = np.concatenate([part for part in parts if part is not None]).astype(np.float64)
    return np.round(np.maximum(np.nan_to_num(whole, nan=0.0), _LEAST_LOG_PROB), 7)
