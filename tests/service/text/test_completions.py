"""Completion jobs against log-softmax in float64, as text and as ids, alone and with batch-mates; strings of tokens."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders
from transformers import AutoModelForCausalLM

from service.errors import Invalid, ServiceError, TooLarge
from service.job import Job
from service.openai.validate import completion_job
from service.text.completions import read_prompts
from service.text.models import TextModel
from service.text.pieces import Pieces
from service.text.run import text_results
from tests.service.text import local
from tests.service.text.conftest import Loaded

Get = Callable[[str], Loaded]
TEXT = "I love the emoji 👩‍👩‍👧, and so do you"
CAUSAL = ["gpt2", "llama"]


def job(here: Loaded, number: int = 0, **fields: Any) -> Job:
    asked = {"max_tokens": 1, "echo": True, "logprobs": 1} | fields
    made = completion_job(asked, here.settings, number.to_bytes(16, "big"))
    return read_prompts(made, here.model, here.settings)


def columns(here: Loaded, **fields: Any) -> dict[str, Any]:
    (result,) = text_results((job(here, **fields),), 4096)
    return dict(result["columns"])


def truth(here: Loaded, ids: list[int]) -> np.ndarray:
    with torch.no_grad():
        logits = here.eager(AutoModelForCausalLM)(input_ids=torch.tensor([ids])).logits[0]
    return np.asarray(logits.double().log_softmax(-1))


@pytest.mark.parametrize("name", CAUSAL)
def test_scores_and_the_next_token_are_those_of_the_logits(loaded: Get, name: str) -> None:
    here = loaded(name)
    ids = here.tokenizer(TEXT)["input_ids"]
    came, expected = columns(here, prompt=TEXT, logprobs=3), truth(here, ids)
    own = [expected[i, token] for i, token in enumerate(ids[1:])]
    np.testing.assert_allclose(came["log_probs"][1:], own, rtol=0, atol=1e-5)
    best = np.sort(expected, axis=-1)[:, ::-1][:, :3]
    np.testing.assert_allclose(came["likeliest_log_probs"][1:], best[:-1], rtol=0, atol=1e-5)
    np.testing.assert_allclose(came["following_log_probs"][0], best[-1], rtol=0, atol=1e-5)
    assert came["following"][0, 0] == expected[-1].argmax()
    assert came["texts"] == [TEXT]


@pytest.mark.parametrize("name", CAUSAL)
def test_ids_and_the_text_that_they_are_of_agree(loaded: Get, name: str) -> None:
    here = loaded(name)
    ids = here.tokenizer(TEXT)["input_ids"]
    from_text, from_ids = columns(here, prompt=TEXT), columns(here, prompt=ids)
    np.testing.assert_array_equal(from_text["ids"], from_ids["ids"])
    np.testing.assert_array_equal(from_text["log_probs"], from_ids["log_probs"])
    assert from_ids["counts"].tolist() == [len(ids)]


@settings(max_examples=10, deadline=None)
@given(
    rows=st.lists(st.lists(st.integers(0, 99), min_size=1, max_size=40), min_size=1, max_size=6), split=st.booleans()
)
@pytest.mark.parametrize("name", CAUSAL)
def test_a_prompt_has_the_scores_that_it_has_alone(loaded: Get, name: str, rows: list[list[int]], split: bool) -> None:
    here = loaded(name)
    alone = [columns(here, prompt=[row]) for row in rows]
    jobs = tuple(job(here, k, prompt=[row]) for k, row in enumerate(rows)) if split else (job(here, prompt=rows),)
    results = [result["columns"] for result in text_results(jobs, 64)]
    for column in ("log_probs", "likeliest_log_probs", "following_log_probs"):
        together = np.concatenate([each[column] for each in results])
        np.testing.assert_allclose(together, np.concatenate([each[column] for each in alone]), rtol=0, atol=1e-5)


def test_a_likeliest_token_has_the_same_float_as_the_token(loaded: Get) -> None:
    here = loaded("gpt2")
    vocabulary = here.model.vocabulary
    came = columns(here, prompt=list(range(50)), logprobs=None, prompt_logprobs=-1)
    assert came["likeliest"].shape == (50, vocabulary)
    for place in range(1, 50):
        (found,) = np.flatnonzero(came["likeliest"][place] == place)
        assert came["likeliest_log_probs"][place, found] == came["log_probs"][place]


def test_an_impossible_token_has_a_finite_score(loaded: Get, monkeypatch: pytest.MonkeyPatch) -> None:
    here = loaded("llama")
    weight, _ = here.model.head
    bias = torch.zeros(weight.shape[0])
    bias[7] = -torch.inf
    monkeypatch.setattr(TextModel, "head", property(lambda _: (weight, bias)))
    came = columns(here, prompt=[1, 7, 8], logprobs=None, prompt_logprobs=-1)
    assert came["log_probs"][1] == -9999
    assert np.isfinite(came["likeliest_log_probs"]).all()


@pytest.mark.parametrize(
    ("fields", "error", "field"),
    [
        ({"prompt": [[1], [2, 10**6]]}, Invalid, "prompt[1][1]"),
        ({"prompt": [2, 10**6]}, Invalid, "prompt[1]"),
        ({"prompt": [[1] * 70]}, Invalid, "prompt[0]"),
        ({"prompt": "\ud800"}, Invalid, "prompt"),
        ({"prompt": [[1] * 60] * 200, "prompt_logprobs": -1, "logprobs": 100}, TooLarge, None),
    ],
)
def test_what_the_tokenizer_shows_is_refused(
    loaded: Get, fields: dict[str, Any], error: type[ServiceError], field: str | None
) -> None:
    with pytest.raises(error) as caught:
        job(loaded("gpt2"), **fields)
    assert [problem.field for problem in caught.value.errors] == ([field] if field else [])


@pytest.mark.parametrize("name", ["bert", "t5"])
def test_models_that_are_not_causal_complete_nothing(loaded: Get, name: str) -> None:
    with pytest.raises(Invalid, match="model"):
        job(loaded(name), prompt="I love")


@pytest.mark.parametrize("make", [local.byte_level, local.metaspace])
@given(text=st.text(st.sampled_from("Ilove progamin.👩‍👩‍👧é\n"), min_size=1))
def test_the_strings_of_tokens_make_up_their_text(make: Callable[[], Any], text: str) -> None:
    tokenizer = make()
    pieces = Pieces(tokenizer)
    ids = tokenizer(text, verbose=False)["input_ids"]
    whole, starts = pieces.text(ids)
    assert whole == tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    assert starts == sorted(starts)
    assert starts[0] == 0
    for token, start, stop in zip(pieces.of(ids), starts, [*starts[1:], len(whole)], strict=True):
        assert whole[start:stop] in (token, token.strip()) or "\ufffd" in token or start == stop


def test_a_token_writes_the_blank_before_it() -> None:
    tokenizer = deepcopy(local.metaspace())
    steps = [decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.backend_tokenizer.decoder = decoders.Sequence(steps)
    word = next(token for token in tokenizer.get_vocab() if token.startswith("▁") and token.strip("▁"))
    (token,) = tokenizer.convert_tokens_to_ids([word])
    alone = word.replace("▁", " ")
    assert tokenizer.decode([token]) == alone.removeprefix(" ")
    assert Pieces(tokenizer).of([token]) == [alone]
