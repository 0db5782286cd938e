"""What the text endpoints refuse, and what they say."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from service.errors import Invalid, NotFound, ServiceError, TooLarge
from service.text.validate import is_text
from tests.service.text.conftest import Loaded

Get = Callable[[str], Loaded]
TEXT = "I love programming"

REFUSED: list[tuple[str, str, dict[str, Any], str, str]] = [
    ("llama", "/loss", {"text": ""}, "text", "at least 1 character"),
    ("llama", "/loss", {"text": ["a", ""]}, "text[1]", "at least 1 character"),
    ("llama", "/loss", {"text": []}, "text", "at least 1 item"),
    ("llama", "/loss", {"text": 3}, "text", "list"),
    ("llama", "/loss", {"text": TEXT, "casual": True}, "casual", "unknown field"),
    ("llama", "/attention", {"text": TEXT, "return": ["output"]}, "return[0]", "'weights'"),
    ("llama", "/attention", {"text": TEXT, "layers": [0, 3]}, "layers[1]", "expected -3…2, came 3"),
    ("llama", "/attention", {"text": TEXT, "layers": [0, -3]}, "layers", "one twice"),
    ("llama", "/attention", {"text": TEXT, "heads": [-7]}, "heads[0]", "expected -6…5, came -7"),
    ("llama", "/attention", {"text": TEXT, "return": ["top"]}, "top_k", "needed"),
    ("llama", "/attention", {"text": TEXT, "queries": [0, 2]}, "queries", "`return` does not ask"),
    ("llama", "/attention", {"text": TEXT, "return": ["weights"], "queries": [2, 2]}, "queries", "0 ≤ start < stop"),
    ("llama", "/attention", {"text": TEXT, "return": ["weights"], "keys": [0, 99]}, "keys", "tokens"),
    ("llama", "/attention", {"text": TEXT, "aggregate": "word", "return": ["lse"]}, "aggregate", "no lse"),
    ("llama", "/attention", {"text": TEXT, "target_text": "so"}, "target_text", "no encoder-decoder"),
    ("llama", "/attention", {"text": TEXT, "site": "cross"}, "site", "has decoder, came cross"),
    ("gpt2", "/loss", {"text": "I love " * 99}, "text", "199 tokens, and the context of gpt2 has 61"),
    ("gpt2", "/loss", {"text": "I love " * 99, "stride": 61}, "stride", "less than the context of 61"),
    ("gpt2", "/loss", {"text": ["I", "love me"]}, "text[0]", "nothing to score"),
    ("gpt2", "/loss", {"text": TEXT, "stride": 5, "losses": [{"name": "entropy"}]}, "stride", "alone"),
    ("llama", "/loss", {"text": TEXT, "losses": [{"name": "kl"}]}, "losses[0].name", "teacher"),
    ("llama", "/loss", {"text": TEXT, "losses": [{"name": "entropie"}]}, "losses[0]", "entropy"),
    ("llama", "/loss", {"text": TEXT, "losses": [{"name": "sink", "keys": [99]}]}, "losses[0].keys[0]", "99"),
    (
        "llama",
        "/loss",
        {"text": TEXT, "losses": [{"name": "entropy"}, {"name": "cross_entropy", "target": np.ones((2, 7))}]},
        "losses[1].target",
        "[2, 7]",
    ),
    ("llama", "/loss", {"text": TEXT, "top_k": 9999, "return": ["alternatives"]}, "top_k", "9999"),
    ("llama", "/loss", {"text": TEXT, "teacher": "llama"}, "student", "together"),
    ("llama", "/loss", {"text": TEXT, "layers": [[0, 1]]}, "layers", "teacher"),
    ("llama", "/loss", {"text": TEXT, "return": ["alternatives"]}, "top_k", "needed"),
    ("llama", "/loss", {"text": TEXT, "return": []}, "return", "empty"),
    ("llama", "/loss", {"text": TEXT, "model": "gpt5", "stride": 4, "truncate": True}, "stride", "alone"),
    ("llama", "/loss", {"text": TEXT, "model": "gpt5", "return": ["alternatives"]}, "top_k", "needed"),
    ("gpt2", "/loss", {"text": "I love " * 99, "truncate": True, "order": {}}, "order", "whole texts"),
    (
        "t5",
        "/loss",
        {"text": ["so", TEXT], "target_text": ["so", "so"], "losses": [{"name": "forward_sum"}]},
        "losses",
        "of text[",
    ),
    ("llama", "/loss", {"text": TEXT, "order": {"permutations": 257}}, "order.permutations", "at most 256"),
    ("bert", "/loss", {"text": TEXT}, "model", "is an encoder"),
    ("bert", "/loss", {"text": TEXT, "order": {}, "losses": [{"name": "entropy"}]}, "model", "is an encoder"),
    ("bert", "/attention", {"text": "\x01\x02"}, "text", "no token but special ones"),
    ("t5", "/loss", {"text": TEXT}, "target_text", "needed"),
    ("t5", "/attention", {"text": TEXT, "site": "cross"}, "target_text", "needed for cross"),
    ("t5", "/attention", {"text": [TEXT, "so"], "target_text": "so"}, "target_text", "one for each of the 2"),
    ("t5", "/loss", {"text": TEXT, "target_text": "so", "order": {}}, "order", "leave out target_text"),
]


@pytest.mark.parametrize(("name", "path", "fields", "field", "words"), REFUSED)
def test_a_wrong_field_is_named(
    loaded: Get, name: str, path: str, fields: dict[str, Any], field: str, words: str
) -> None:
    here = loaded(name)
    with pytest.raises(Invalid) as refused:
        here.answer(path, **fields)
    assert refused.value.errors[0].field == field
    assert words in refused.value.errors[0].message


def test_an_unknown_model_is_not_found(loaded: Get) -> None:
    with pytest.raises(NotFound, match="no model 'gpt5'; there are llama"):
        loaded("llama").answer("/loss", text=TEXT, model="gpt5")


def test_text_and_tensors_at_once_are_refused() -> None:
    with pytest.raises(Invalid, match="came both"):
        is_text({"text": TEXT, "query": [[1.0]]})
    with pytest.raises(Invalid, match="text: this field is needed"):
        is_text({"model": "default"})


@pytest.mark.parametrize(
    ("limits", "fields", "words"),
    [
        ({"max_job_cost": 100}, {}, "score elements or more, the limit is 100"),
        ({"max_answer_bytes": 1000}, {"return": ["weights"]}, "the limit is 1000; ask for fewer layers"),
        ({"max_job_cost": 1000}, {"order": {"permutations": 6}}, "fewer permutations"),
        ({"max_job_tokens": 12}, {"order": {"permutations": 6}}, "tokens or more, the limit is 12"),
        ({"max_text_bytes": 17}, {}, "18 bytes, the limit is 17"),
        ({"max_answer_bytes": 900}, {"return": ["alternatives"], "top_k": 20}, "answer would take"),
    ],
)
def test_what_is_too_large_says_the_limit(
    loaded: Get, limits: dict[str, int], fields: dict[str, Any], words: str
) -> None:
    here = loaded("llama")
    kept, here.settings = here.settings, here.settings.model_copy(update=limits)
    try:
        with pytest.raises(TooLarge, match=words):
            here.answer("/loss", text=TEXT, **fields)
    finally:
        here.settings = kept


@pytest.mark.parametrize("text", ["a\x00b", "שלום עולם", "👩‍👩‍👧 é ﷺ", "<s>", " ", "\n\n", "x" * 200_000])
@pytest.mark.parametrize("name", ["gpt2", "llama", "bert", "t5"])
def test_odd_text_is_answered_or_refused_with_a_sentence(loaded: Get, name: str, text: str) -> None:
    refused = None
    try:
        (result,) = loaded(name).post("/attention", text=text)
    except ServiceError as error:
        refused = error
    if refused is not None:
        assert refused.status in (413, 422)
        assert refused.detail
        return
    assert all(0 <= start <= stop <= len(text) for start, stop in result["offsets"])
    assert len(result["layers"][0]["entropy"][0]) == len(result["tokens"])
