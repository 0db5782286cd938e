"""What a terminal shows of attention maps, as numbers."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class HeadSummary:
    """One head: means over its queries."""

    layer: int
    head: int
    entropy: float
    max: float
    first_key: float


@dataclass(frozen=True)
class TokenSummary:
    """One query of one head: its entropy, its strongest key, and the attention that it receives as a key."""

    token: str
    entropy: float
    strongest_key: str
    weight: float
    received: float


def by_head(result: dict[str, Any]) -> list[HeadSummary]:
    """A summary of each head of each layer."""
    found = []
    for layer in result["layers"]:
        columns = (np.asarray(layer[name], np.float64) for name in ("entropy", "max", "received"))
        for head, entropy, largest, received in zip(layer["heads"], *columns, strict=True):
            queries = len(entropy)
            found.append(
                HeadSummary(layer["layer"], head, entropy.mean(), largest.mean(), float(received[0]) / queries)
            )
    return found


def by_token(result: dict[str, Any]) -> list[TokenSummary]:
    """A summary of each token of the one head that was asked for."""
    (layer,) = result["layers"]
    keys = key_tokens(result)
    top = layer["top"]
    columns = [layer["entropy"], top["index"], top["weight"], layer["received"]]
    entropy, index, weight, received = (np.asarray(column)[0] for column in columns)
    return [
        TokenSummary(token, float(entropy[i]), keys[int(index[i, 0])], float(weight[i, 0]), float(received[i]))
        for i, token in enumerate(query_tokens(result))
    ]


def query_tokens(result: dict[str, Any]) -> list[str]:
    """The tokens that ask."""
    return list(result.get("target_tokens") or result["tokens"])


def key_tokens(result: dict[str, Any]) -> list[str]:
    """The tokens that are looked at."""
    return list(result["tokens"])


def seen_share(result: dict[str, Any]) -> np.ndarray:
    """The weight that each token gets from a query that may look at it: mean over queries, heads and layers."""
    keys = len(key_tokens(result))
    received = np.mean([np.asarray(layer["received"], np.float64).mean(0) for layer in result["layers"]], axis=0)
    queries = keys - np.arange(keys) if result["layers"][0]["site"] == "decoder" else np.full(keys, keys)
    return np.asarray(received / queries)
