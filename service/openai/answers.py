"""Answers of POST /v1/completions, laid out as OpenAI has them from the columns that the worker gives."""

import time
from collections.abc import Sequence
from typing import Any

import orjson

from service.exchange import Written


def write_completion(result: dict[str, Any], options: dict[str, Any], job_id: bytes) -> Written:
    """The answer to a completion job of these options."""
    columns = _Columns(result["columns"], options)
    choices = [columns.choice(index) for index in range(columns.prompts)]
    prompted, generated = sum(columns.counts), columns.prompts * options["max_tokens"]
    answer = {
        "id": f"cmpl-{job_id.hex()}",
        "object": "text_completion",
        "created": int(time.time()),
        "model": result["model"],
        "choices": choices,
        "usage": {
            "prompt_tokens": prompted,
            "completion_tokens": generated,
            "total_tokens": prompted + generated,
        },
    }
    return Written([orjson.dumps(answer)])


class _Columns:
    """All prompts of a job, behind one another."""

    def __init__(self, columns: dict[str, Any], options: dict[str, Any]) -> None:
        self.options = options
        self.columns = {
            name: column.tolist() if hasattr(column, "tolist") else column for name, column in columns.items()
        }
        self.strings = dict(zip(self.columns["string_ids"], self.columns["strings"], strict=True))
        self.counts: list[int] = self.columns["counts"]
        self.prompts = len(self.counts)
        self.begins = [0]
        for count in self.counts:
            self.begins.append(self.begins[-1] + count)

    def choice(self, index: int) -> dict[str, Any]:
        """One prompt and what follows it."""
        options, columns = self.options, self.columns
        own = slice(self.begins[index], self.begins[index + 1])
        text, tokens, starts = "", _Tokens(self.strings), list[int]()
        if options["echo"]:
            text, starts = columns["texts"][index], columns["starts"][own]
            tokens.add(columns["ids"][own], columns["log_probs"][own], *self._likeliest(own))
            tokens.forget_first()
        finish_reason = "length"
        if options["max_tokens"]:
            ids, log_probs = columns["following"][index], columns["following_log_probs"][index]
            tokens.add(ids[:1], log_probs[:1], [ids], [log_probs], options["logprobs"] or 0)
            starts = [*starts, len(text)]
            if ids[0] == columns["eos"]:
                finish_reason = "stop"
            else:
                text += self.strings[ids[0]]
        choice: dict[str, Any] = {"index": index, "text": text, "logprobs": None, "finish_reason": finish_reason}
        if options["logprobs"] is not None:
            choice["logprobs"] = tokens.public() | {"text_offset": starts}
        if options["prompt_logprobs"] is not None:
            choice["prompt_logprobs"] = self._prompt_logprobs(own)
        return choice

    def _likeliest(self, own: slice) -> tuple[Sequence[Sequence[int]], Sequence[Sequence[float]], int]:
        asked = self.options["logprobs"] or 0
        if not asked:
            none: list[list[Any]] = [[]] * (own.stop - own.start)
            return none, none, 0
        return self.columns["likeliest"][own], self.columns["likeliest_log_probs"][own], asked

    def _prompt_logprobs(self, own: slice) -> list[dict[str, Any] | None]:
        asked: int = self.options["prompt_logprobs"]
        ids, log_probs = self.columns["ids"][own], self.columns["log_probs"][own]
        found: list[dict[str, Any] | None] = [None]
        for place in range(1, len(ids)):
            row = {}
            if asked:
                among = self.columns["likeliest"][own.start + place]
                values = self.columns["likeliest_log_probs"][own.start + place]
                most = len(among) if asked < 0 else asked
                ranked = enumerate(zip(among[:most], values[:most], strict=True), 1)
                row = {str(token): self._prompt_logprob(token, value, rank) for rank, (token, value) in ranked}
            row.setdefault(str(ids[place]), self._prompt_logprob(ids[place], log_probs[place], None))
            found.append(row)
        return found

    def _prompt_logprob(self, token: int, log_prob: float, rank: int | None) -> dict[str, Any]:
        return {"logprob": log_prob, "rank": rank, "decoded_token": self.strings[token]}


class _Tokens:
    """`logprobs` of a choice, as it grows."""

    def __init__(self, strings: dict[int, str]) -> None:
        self.strings = strings
        self.tokens: list[str] = []
        self.log_probs: list[float | None] = []
        self.top: list[dict[str, float] | None] = []

    def add(
        self,
        ids: Sequence[int],
        log_probs: Sequence[float],
        likeliest: Sequence[Sequence[int]],
        likeliest_log_probs: Sequence[Sequence[float]],
        most: int,
    ) -> None:
        """Put tokens behind the others."""
        strings = self.strings
        self.tokens += [strings[token] for token in ids]
        self.log_probs += log_probs
        for token, own, among, values in zip(ids, log_probs, likeliest, likeliest_log_probs, strict=True):
            top: dict[str, float] = {}
            for each, value in zip(among[:most], values[:most], strict=True):
                top.setdefault(strings[each], value)
            if top.setdefault(strings[token], own) < own:
                top[strings[token]] = own
            self.top.append(top)

    def forget_first(self) -> None:
        """Nothing stands before the first token of a prompt."""
        self.log_probs[0] = self.top[0] = None

    def public(self) -> dict[str, Any]:
        """The lists of the answer."""
        return {"tokens": self.tokens, "token_logprobs": self.log_probs, "top_logprobs": self.top}
