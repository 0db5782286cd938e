"""Every number against transformers' own eager attention, labels and generate, on models of random weights."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForSeq2SeqLM

from tests.service.text.conftest import Loaded

Get = Callable[[str], Loaded]
TEXTS = ["I love programming", "you love the emoji 👩‍👩‍👧, and so do I. I love", "so"]
CAUSAL = ["gpt2", "llama"]
CLOSE = {"rtol": 0, "atol": 1e-5}


def eager_weights(loaded: Loaded, kind: Any, text: str) -> list[np.ndarray]:
    ids = loaded.tokenizer(text, return_tensors="pt")
    with torch.no_grad():
        return [layer[0].numpy() for layer in loaded.eager(kind)(**ids, output_attentions=True).attentions]


def entropy(weights: np.ndarray) -> np.ndarray:
    return -np.where(weights > 0, weights * np.log(np.where(weights > 0, weights, 1)), 0).sum(-1)


@pytest.mark.parametrize(
    ("name", "kind"), [("gpt2", AutoModelForCausalLM), ("llama", AutoModelForCausalLM), ("bert", AutoModel)]
)
def test_weights_and_statistics_are_those_of_eager_attention(loaded: Get, name: str, kind: Any) -> None:
    here = loaded(name)
    asked = ["weights", "entropy", "max", "received", "top", "lse"]
    results = here.post("/attention", text=TEXTS, **{"return": asked}, top_k=2)
    for text, result in zip(TEXTS, results, strict=True):
        assert len(result["tokens"]) == len(here.tokenizer(text)["input_ids"])
        for layer, truth in zip(result["layers"], eager_weights(here, kind, text), strict=True):
            np.testing.assert_allclose(layer["weights"], truth, **CLOSE)
            np.testing.assert_allclose(layer["entropy"], entropy(truth), **CLOSE)
            np.testing.assert_allclose(layer["max"], truth.max(-1), **CLOSE)
            np.testing.assert_allclose(layer["received"], truth.sum(-2), **CLOSE)
            index = layer["top"]["index"]
            assert index.shape == (*truth.shape[:2], 2)
            named = np.where(index < 0, 0, np.take_along_axis(truth, np.maximum(index, 0), -1))
            np.testing.assert_allclose(layer["top"]["weight"], named, **CLOSE)
            assert np.isfinite(layer["lse"]).all()


@pytest.mark.parametrize("name", CAUSAL)
def test_the_loss_is_that_of_labels(loaded: Get, name: str) -> None:
    here = loaded(name)
    model = here.eager(AutoModelForCausalLM)
    for text, result in zip(TEXTS[:2], here.post("/loss", text=TEXTS[:2]), strict=True):
        ids = here.tokenizer(text, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            out = model(input_ids=ids, labels=ids)
        assert result["loss"] == pytest.approx(out.loss.item(), abs=1e-5)
        truth = out.logits[0, :-1].log_softmax(-1).gather(-1, ids[0, 1:, None])[:, 0]
        assert result["log_probs"][0] is None
        np.testing.assert_allclose(result["log_probs"][1:], truth.numpy(), **CLOSE)
        assert result["perplexity"] == pytest.approx(math.exp(out.loss.item()), rel=1e-5)


@pytest.mark.parametrize("name", CAUSAL)
def test_alternatives_are_the_scores_of_generate(loaded: Get, name: str) -> None:
    here = loaded(name)
    (result,) = here.post("/loss", text=TEXTS[1], top_k=3, **{"return": ["alternatives"]})
    ids = {name: tensor[:, :-1] for name, tensor in here.tokenizer(TEXTS[1], return_tensors="pt").items()}
    out = here.eager(AutoModelForCausalLM).generate(
        **ids, max_new_tokens=1, do_sample=False, return_dict_in_generate=True, output_scores=True, pad_token_id=0
    )
    truth = out.scores[0][0].log_softmax(-1).topk(3)
    assert result["alternatives"][0] is None
    place = result["alternatives"][-1]
    assert [each["id"] for each in place] == truth.indices.tolist()
    np.testing.assert_allclose([each["log_prob"] for each in place], truth.values.numpy(), **CLOSE)
    assert place[0]["token"] == here.tokenizer.decode([place[0]["id"]])


@pytest.mark.parametrize("site", ["encoder", "decoder", "cross"])
def test_an_encoder_decoder_gives_the_weights_of_every_site(loaded: Get, site: str) -> None:
    here = loaded("t5")
    targets = ["I love the emoji", "so do", "programming I"]
    results = here.post("/attention", text=TEXTS, target_text=targets, site=site, **{"return": ["weights", "entropy"]})
    model = here.eager(AutoModelForSeq2SeqLM)
    for text, target, result in zip(TEXTS, targets, results, strict=True):
        labels = here.tokenizer(text_target=target, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            out = model(**here.tokenizer(text, return_tensors="pt"), labels=labels, output_attentions=True)
        truths = {"encoder": out.encoder_attentions, "decoder": out.decoder_attentions, "cross": out.cross_attentions}
        for layer, truth in zip(result["layers"], truths[site], strict=True):
            np.testing.assert_allclose(layer["weights"], truth[0].numpy(), **CLOSE)
            np.testing.assert_allclose(layer["entropy"], entropy(truth[0].numpy()), **CLOSE)
        assert len(result["target_tokens"]) == labels.shape[1]


def test_an_encoder_decoder_scores_the_target(loaded: Get) -> None:
    here = loaded("t5")
    (result,) = here.post("/loss", text="I love programming", target_text="you love the emoji")
    labels = here.tokenizer(text_target="you love the emoji", return_tensors="pt")["input_ids"]
    ids = here.tokenizer("I love programming", return_tensors="pt")
    with torch.no_grad():
        truth = here.eager(AutoModelForSeq2SeqLM)(**ids, labels=labels).loss.item()
    assert result["loss"] == pytest.approx(truth, abs=1e-5)
    assert None not in result["log_probs"]


@pytest.mark.parametrize("name", ["gpt2", "llama", "bert", "t5"])
def test_a_text_in_a_batch_gets_what_it_gets_alone(loaded: Get, name: str) -> None:
    here = loaded(name)
    path = "/attention" if name in ("bert", "t5") else "/loss"
    fields: dict[str, Any] = {"return": ["entropy", "received"]}
    together = here.post(path, text=TEXTS[:2], **fields)
    for text, result in zip(TEXTS[:2], together, strict=True):
        (alone,) = here.post(path, text=text, **fields)
        for one, other in zip(result["layers"], alone["layers"], strict=True):
            np.testing.assert_allclose(one["entropy"], other["entropy"], **CLOSE)
            np.testing.assert_allclose(one["received"], other["received"], **CLOSE)


def test_models_are_batched_as_was_proven_of_them(loaded: Get) -> None:
    layouts = {name: loaded(name).model.layout for name in ("gpt2", "llama", "bert", "t5")}
    assert layouts == {"gpt2": "packed", "llama": "packed", "bert": "packed", "t5": "padded"}


@pytest.mark.parametrize("name", CAUSAL)
def test_losses_over_the_maps_are_means_over_each_heads_queries(loaded: Get, name: str) -> None:
    here = loaded(name)
    losses = [{"name": "entropy"}, {"name": "sink", "label": "first"}, {"name": "distance"}]
    (result,) = here.post("/loss", text=TEXTS[1], losses=losses)
    weights = eager_weights(here, AutoModelForCausalLM, TEXTS[1])
    for layer, truth in zip(result["layers"], weights, strict=True):
        n = truth.shape[-1]
        away = np.abs(np.arange(n)[:, None] - np.arange(n))
        np.testing.assert_allclose(layer["losses"]["entropy"], entropy(truth).mean(-1), **CLOSE)
        np.testing.assert_allclose(layer["losses"]["first"], truth[..., 0].mean(-1), **CLOSE)
        np.testing.assert_allclose(layer["losses"]["distance"], (truth * away).sum(-1).mean(-1), rtol=1e-5, atol=1e-5)
    assert "loss" in result
