"""Heads, sides, white space and deadlines: what is asked is what comes, whoever shares the batch."""

from collections.abc import Callable

import numpy as np
import pytest

from service.errors import DeadlinePassed
from service.text.run import text_results
from tests.service.text.conftest import Loaded

Get = Callable[[str], Loaded]
CLOSE = {"rtol": 0, "atol": 1e-5}


@pytest.mark.parametrize("returns", [["weights", "entropy", "received", "top"], ["loss"]])
def test_heads_come_in_the_order_asked_for_and_are_named(loaded: Get, returns: list[str]) -> None:
    here = loaded("llama")
    losses = [{"name": "entropy"}, {"name": "disagreement"}] if returns == ["loss"] else None
    fields = {"text": ["I love the emoji", "so do I"], "return": returns, "top_k": 1, "losses": losses}
    every = here.post("/loss", **fields)
    some = here.post("/loss", **fields, heads=[4, -6, 2])
    for whole, part in zip(every, some, strict=True):
        for one, other in zip(whole["layers"], part["layers"], strict=True):
            assert one["heads"] == [0, 1, 2, 3, 4, 5]
            assert other["heads"] == [4, 0, 2]
            for name in set(returns) - {"loss", "top"}:
                np.testing.assert_allclose(other[name], one[name][[4, 0, 2]], **CLOSE)
            if losses:
                np.testing.assert_allclose(other["losses"]["entropy"], one["losses"]["entropy"][[4, 0, 2]], **CLOSE)


def test_short_texts_beside_a_long_one_get_what_they_get_alone(loaded: Get) -> None:
    here = loaded("llama")
    texts = ["so", "I love the emoji, " * 12, "so do I", "you"]
    together = here.post("/attention", text=texts, **{"return": ["weights", "top"]}, top_k=3)
    for text, result in zip(texts, together, strict=True):
        (alone,) = here.post("/attention", text=text, **{"return": ["weights", "top"]}, top_k=3)
        for one, other in zip(result["layers"], alone["layers"], strict=True):
            np.testing.assert_allclose(one["weights"], other["weights"], **CLOSE)
            np.testing.assert_array_equal(one["top"]["index"], other["top"]["index"])


def test_the_keys_of_a_decoder_are_what_it_reads(loaded: Get) -> None:
    here = loaded("t5")
    fields = {"text": "I love", "target_text": "so do I love you", "site": "decoder", "return": ["received"]}
    (tokens,) = here.post("/attention", **fields)
    assert tokens["key_tokens"] == ["<pad>", *tokens["target_tokens"][:-1]]
    (words,) = here.post("/attention", **fields, aggregate="word")
    assert words["key_tokens"] == ["<pad>", "so", "do", "I", "love", "you"]
    assert words["target_tokens"] == ["so", "do", "I", "love", "you", "</s>"]
    for one, other in zip(tokens["layers"], words["layers"], strict=True):
        assert other["received"].shape == (4, 6)
        np.testing.assert_allclose(one["received"][:, 0], other["received"][:, 0], **CLOSE)
        np.testing.assert_allclose(one["received"].sum(-1), other["received"].sum(-1), rtol=1e-5)


def test_the_white_space_of_a_text_does_not_count_against_its_order(loaded: Get) -> None:
    (result,) = loaded("gpt2").post("/loss", text="I  love\nprogramming", order={})
    assert {each["text"] for each in result["order"]["shuffles"]} == {
        "I  programming\nlove",
        "love  I\nprogramming",
        "love  programming\nI",
        "programming  I\nlove",
        "programming  love\nI",
    }


def test_an_encoder_decoder_without_a_target_has_losses_of_its_encoder(loaded: Get) -> None:
    (result,) = loaded("t5").post("/loss", text="I love programming", losses=[{"name": "entropy"}])
    assert [layer["site"] for layer in result["layers"]] == ["encoder", "encoder"]
    assert "loss" not in result


def test_one_word_has_an_order_and_nothing_else_to_score(loaded: Get) -> None:
    (result,) = loaded("gpt2").post("/loss", text="I", order={}, **{"return": []})
    assert result["order"]["of"] == result["order"]["rank"] == 1
    assert "loss" not in result


def test_a_job_that_nobody_waits_for_any_more_stops_between_forwards(loaded: Get) -> None:
    here = loaded("gpt2")
    job = here.job("/loss", {"text": ["I love programming"] * 9})
    with pytest.raises(DeadlinePassed):
        text_results((job,), 8, cancelled={job.id})
    assert text_results((job,), 8)[0]["results"]
