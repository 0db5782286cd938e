"""Rows: what is written of each line, and what to ask of the service for it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from service.cli.bulk.inputs import Line

Row = dict[str, Any]

_NUMBERS = ("loss", "perplexity", "bits_per_byte")


@dataclass(frozen=True)
class RowPlan:
    """Which columns a row has.

    `kept` names the fields of an input object that are carried through; None: all of them, which only JSONL can hold.
    `losses` are attention losses, each the mean over layers and heads.
    """

    kept: tuple[str, ...] | None = None
    text: bool = True
    tokens: bool = False
    losses: tuple[str, ...] = ()

    @property
    def computed(self) -> list[str]:
        """The columns that are computed."""
        own = ["scored_tokens", *_NUMBERS, *(f"attention_{name}" for name in self.losses)]
        return own + (["tokens", "log_probs"] if self.tokens else [])

    @property
    def columns(self) -> list[str]:
        """All columns, where `kept` is known."""
        return ["file", "line", *map(self.kept_as, self.kept or ()), *["text"] * self.text, *self.computed, "error"]

    def kept_as(self, name: str) -> str:
        """The column of a field that is carried through; one that would hide another gets a prefix."""
        taken = ("file", "line", "text", "error", *self.computed)
        return f"input_{name}" if name in taken else name

    def options(self) -> dict[str, Any]:
        """What the rows need of POST /loss."""
        return {"losses": [{"name": name} for name in self.losses]} if self.losses else {}

    def row(self, line: Line, result: dict[str, Any] | None, error: str | None = None) -> Row:
        """The row of a line that was scored, or that could not be."""
        row: Row = {"file": line.file, "line": line.number}
        kept = line.fields if self.kept is None else {key: line.fields[key] for key in self.kept if key in line.fields}
        row |= {self.kept_as(name): value for name, value in kept.items()}
        if self.text and line.text is not None:
            row["text"] = line.text
        if result is None:
            return row | {"error": error or line.error}
        row["scored_tokens"] = sum(value is not None for value in result["log_probs"])
        row |= {name: result[name] for name in _NUMBERS}
        for name in self.losses:
            row[f"attention_{name}"] = _mean([layer["losses"][name] for layer in result["layers"]])
        if self.tokens:
            row |= {"tokens": list(result["tokens"]), "log_probs": list(result["log_probs"])}
        return row


def flat(value: Any) -> Any:
    """A field that is carried through, as a table holds it: a string as it is, anything else as JSON."""
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _mean(by_layer: Sequence[Any]) -> float:
    """Mean over the layers and their heads; a loss that has none per head has one number for a layer."""
    import numpy as np

    return float(np.concatenate([np.ravel(layer) for layer in by_layer]).astype(np.float64).mean())
