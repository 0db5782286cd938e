"""The unmodified openai package: scoring, the list of models, and errors as its exceptions."""

import asyncio
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import openai
import pytest
import torch
import transformers

from tests.server.test_text import FOLDER, MINILM, wait_for_models
from tests.serving import Server, answer_on

TEXTS = ["I love programming", "The service sorts its queue — 你好, 👋! — once a second.", "x"]


@pytest.fixture(scope="module")
def texts(start_server: Callable[..., Server]) -> Server:
    server = start_server(models=f"default,minilm={MINILM}", processes=2)
    wait_for_models(server)
    return server


@pytest.fixture
def scorer(texts: Server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"http://127.0.0.1:{texts.port}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def truth() -> Callable[[list[int]], np.ndarray]:
    model = transformers.AutoModelForCausalLM.from_pretrained(FOLDER).eval()

    def log_probs(ids: list[int]) -> np.ndarray:
        with torch.no_grad():
            return np.asarray(model(input_ids=torch.tensor([ids])).logits[0].double().log_softmax(-1))

    return log_probs


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return transformers.AutoTokenizer.from_pretrained(FOLDER)


def test_texts_are_scored_with_their_likeliest_tokens(scorer: openai.OpenAI, truth: Any, tokenizer: Any) -> None:
    answer = scorer.completions.create(model="default", prompt=TEXTS, max_tokens=0, echo=True, logprobs=5)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert [choice.text for choice in answer.choices] == TEXTS
    assert answer.object == "text_completion"
    assert answer.model == "default"
    total = 0
    for text, choice in zip(TEXTS, answer.choices, strict=True):
        ids = tokenizer(text)["input_ids"]
        total += len(ids)
        told, expected = choice.logprobs, truth(ids)
        assert told is not None
        assert told.tokens is not None
        assert told.token_logprobs is not None
        assert told.top_logprobs is not None
        assert told.text_offset is not None
        own = [expected[i, token] for i, token in enumerate(ids[1:])]
        assert told.token_logprobs[0] is None
        assert told.top_logprobs[0] is None
        np.testing.assert_allclose(told.token_logprobs[1:], own, rtol=0, atol=1e-4)
        for i, (value, top) in enumerate(zip(told.token_logprobs[1:], told.top_logprobs[1:], strict=True)):
            assert len(top) in (5, 6) or "\ufffd" in top  # several parts of characters are one string
            assert max(top.values()) == pytest.approx(expected[i].max(), abs=1e-4)
            assert (value == max(top.values())) == (ids[i + 1] == expected[i].argmax())
        slices = [text[a:b] for a, b in pairwise([*told.text_offset, len(text)])]
        assert all(
            "\ufffd" in token or token in ("<|text|>", own) for token, own in zip(told.tokens, slices, strict=True)
        )
        assert told.text_offset == sorted(told.text_offset)
        assert choice.finish_reason == "length"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (total, 0)


def test_ids_are_taken_as_they_are_and_the_likeliest_next_token_comes_last(
    scorer: openai.OpenAI, truth: Any, tokenizer: Any
) -> None:
    prompts = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in TEXTS]
    answer = scorer.completions.create(
        model="default", prompt=prompts, max_tokens=1, echo=True, logprobs=1, temperature=0, seed=1234
    )
    bare = scorer.completions.create(model="default", prompt=prompts, max_tokens=1, logprobs=0)
    for text, ids, choice, other in zip(TEXTS, prompts, answer.choices, bare.choices, strict=True):
        expected, told = truth(ids), choice.logprobs
        assert told is not None
        assert told.token_logprobs is not None
        assert told.tokens is not None
        assert len(told.tokens) == len(told.token_logprobs) == len(ids) + 1
        greedy = int(expected[-1].argmax())
        assert told.token_logprobs[-1] == pytest.approx(expected[-1, greedy], abs=1e-4)
        assert choice.text == text + told.tokens[-1] or greedy == tokenizer.eos_token_id
        assert other.text == choice.text[len(text) :]
        assert other.logprobs is not None
        assert other.logprobs.tokens == told.tokens[-1:]


def test_models_are_listed_and_found(scorer: openai.OpenAI) -> None:
    assert [model.id for model in scorer.models.list()] == ["default", "minilm"]
    assert scorer.models.retrieve("default").object == "model"
    with pytest.raises(openai.NotFoundError, match="gone"):
        scorer.models.retrieve("gone/away")


REFUSED: list[tuple[dict[str, Any], type[openai.APIStatusError], str]] = [
    ({"model": "gone"}, openai.NotFoundError, "model"),
    ({"model": "minilm"}, openai.UnprocessableEntityError, "model"),
    ({"max_tokens": 16}, openai.UnprocessableEntityError, "max_tokens"),
    ({"max_tokens": None}, openai.UnprocessableEntityError, "max_tokens"),
    ({"max_tokens": 0}, openai.UnprocessableEntityError, "echo"),
    ({"temperature": 0.7}, openai.UnprocessableEntityError, "temperature"),
    ({"n": 2}, openai.UnprocessableEntityError, "n"),
    ({"stream": True}, openai.UnprocessableEntityError, "stream"),
    ({"stop": "x"}, openai.UnprocessableEntityError, "stop"),
    ({"suffix": "x"}, openai.UnprocessableEntityError, "suffix"),
    ({"logprobs": 101}, openai.UnprocessableEntityError, "logprobs"),
    ({"prompt": []}, openai.UnprocessableEntityError, "prompt"),
    ({"prompt": ""}, openai.UnprocessableEntityError, "prompt"),
    ({"prompt": [[41], []]}, openai.UnprocessableEntityError, "prompt[1]"),
    ({"prompt": [[41], [41, 6144]]}, openai.UnprocessableEntityError, "prompt[1][1]"),
    ({"prompt": [41, -1]}, openai.UnprocessableEntityError, "prompt[1]"),
    ({"prompt": ["a", 7]}, openai.UnprocessableEntityError, "prompt[1]"),
    ({"prompt": ["a", "b " * 3000]}, openai.UnprocessableEntityError, "prompt[1]"),
    ({"prompt": ["a"] * 257}, openai.UnprocessableEntityError, "prompt"),
    ({"extra_body": {"best": 1}}, openai.UnprocessableEntityError, "best"),
]


@pytest.mark.parametrize(("asked", "error", "param"), REFUSED, ids=lambda value: str(value)[:40])
def test_what_is_not_offered_is_told_by_its_parameter(
    scorer: openai.OpenAI, asked: dict[str, Any], error: type[openai.APIStatusError], param: str
) -> None:
    with pytest.raises(error) as caught:
        scorer.completions.create(**{"model": "default", "prompt": "a", "max_tokens": 1} | asked)
    assert caught.value.param == param
    assert caught.value.request_id


def test_an_answer_over_its_limit_is_refused_before_it_is_computed(scorer: openai.OpenAI) -> None:
    with pytest.raises(openai.APIStatusError, match="prompt_logprobs") as caught:
        scorer.completions.create(
            model="default", prompt=[[41] * 500] * 2, max_tokens=1, extra_body={"prompt_logprobs": -1}
        )
    assert caught.value.status_code == 413


def test_all_of_the_vocabulary_is_a_distribution(scorer: openai.OpenAI, truth: Any) -> None:
    answer = scorer.completions.create(
        model="default", prompt=[41, 1883], max_tokens=0, extra_body={"prompt_logprobs": -1}
    )
    first, second = answer.choices[0].model_dump()["prompt_logprobs"]
    assert first is None
    came = np.array([second[str(i)]["logprob"] for i in range(6144)])
    np.testing.assert_allclose(came, truth([41])[0], rtol=0, atol=1e-4)
    assert second[str(came.argmax())]["rank"] == 1


def test_many_at_once_get_what_each_gets_alone(texts: Server, scorer: openai.OpenAI) -> None:
    async def all_at_once() -> list[Any]:
        url = f"http://127.0.0.1:{texts.port}/v1"
        async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:
            asked = [
                client.completions.create(
                    model="default", prompt=[41, 1883, i], max_tokens=1, echo=True, logprobs=1, temperature=0
                )
                for i in range(100, 148)
            ]
            return await asyncio.gather(*asked)

    for i, together in zip(range(100, 148), asyncio.run(all_at_once()), strict=True):
        if i % 8 == 0:
            alone = scorer.completions.create(
                model="default", prompt=[41, 1883, i], max_tokens=1, echo=True, logprobs=1, temperature=0
            )
            both = [each.choices[0].logprobs for each in (together, alone)]
            np.testing.assert_allclose(*[each.token_logprobs[1:] for each in both], rtol=0, atol=1e-5)
            assert both[0].tokens == both[1].tokens


def test_an_empty_bearer_is_no_key(texts: Server) -> None:
    body = b'{"prompt": [[41, 1883]], "max_tokens": 1, "echo": true, "logprobs": 1}'
    head = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \r\nContent-Length: %d\r\n\r\n"
    with texts.send_raw(head % len(body) + body) as connection:
        assert answer_on(connection).json()["model"] == "default"
