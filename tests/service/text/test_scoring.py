"""Windows, orders, words, re-ordering and distillation, against plain computations with transformers."""

import itertools
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from service.text.run import text_results
from tests.service.text import local
from tests.service.text.conftest import Loaded

Get = Callable[[str], Loaded]
LONG = "I love programming and you love the emoji, " * 9
CLOSE = {"rtol": 0, "atol": 1e-5}


def nats_of(model: object, ids: list[int]) -> float:
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids])).logits[0, :-1]  # type: ignore[operator]
    return float(-logits.double().log_softmax(-1).gather(-1, torch.tensor(ids[1:])[:, None]).sum())


@pytest.mark.parametrize("stride", [7, 30, 60])
def test_windows_score_every_token_but_the_first_with_the_context_of_their_window(loaded: Get, stride: int) -> None:
    here = loaded("gpt2")
    ids = here.tokenizer(LONG, verbose=False)["input_ids"]
    context = here.model.context
    assert context == 61 < len(ids)
    (result,) = here.post("/loss", text=LONG, stride=stride)
    model, truth, scored = here.eager(AutoModelForCausalLM), [], 1
    for start in range(0, len(ids), stride):
        window = ids[start : start + context]
        with torch.no_grad():
            log_probs = model(input_ids=torch.tensor([window])).logits[0].log_softmax(-1)
        truth += [log_probs[i - 1 - start, ids[i]].item() for i in range(scored, start + len(window))]
        scored = start + len(window)
        if scored == len(ids):
            break
    assert result["log_probs"][0] is None
    np.testing.assert_allclose(result["log_probs"][1:], truth, **CLOSE)
    assert result["loss"] == pytest.approx(-np.mean(truth), abs=1e-5)


def test_a_text_within_the_context_is_scored_the_same_by_windows(loaded: Get) -> None:
    here = loaded("llama")
    (plain,), (windowed,) = (here.post("/loss", text="I love programming", **more) for more in ({}, {"stride": 5}))
    np.testing.assert_allclose(plain["log_probs"][1:], windowed["log_probs"][1:], **CLOSE)


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_orders_are_ranked_by_total_nats_given_bos(loaded: Get, name: str) -> None:
    here = loaded(name)
    text = "I love the emoji"
    (result,) = here.post("/loss", text=text, order={"permutations": 30})
    model, bos = here.eager(AutoModelForCausalLM), here.tokenizer.bos_token_id
    truth = {}
    for words in itertools.permutations(text.split()):
        order = " ".join(words)
        ids = here.tokenizer(order)["input_ids"]
        truth[order] = nats_of(model, ids if ids[0] == bos else [bos, *ids])
    order = result["order"]
    assert order["of"] == 24
    assert order["given"] == pytest.approx(truth[text], abs=1e-4)
    assert {each["text"]: pytest.approx(each["nats"], abs=1e-4) for each in order["shuffles"]} == {
        other: nats for other, nats in truth.items() if other != text
    }
    assert order["best"] == min(truth, key=lambda each: truth[each])
    assert order["rank"] == 1 + sum(nats < truth[text] for nats in truth.values())


def test_the_same_seed_gives_the_same_orders_and_another_gives_others(loaded: Get) -> None:
    here = loaded("llama")
    text = "I love the emoji and you love programming so do I"
    given = [here.post("/loss", text=text, order={"permutations": 5, "seed": seed})[0]["order"] for seed in (3, 3, 4)]
    texts = [[each["text"] for each in order["shuffles"]] for order in given]
    assert texts[0] == texts[1] != texts[2]
    assert given[0]["of"] == 6


def test_words_sum_what_their_tokens_are_looked_at_and_average_what_they_look_at(loaded: Get) -> None:
    here = loaded("llama")
    text = "programming emojis, programming"
    asked = ["weights", "entropy", "received"]
    losses = [{"name": "entropy"}]
    fields = {"text": text, "return": ["loss", *asked], "losses": losses, "reduction": "none"}
    (tokens,) = here.post("/loss", **fields)
    (words,) = here.post("/loss", **fields, aggregate="word")
    assert words["tokens"] == ["<s>", "programming", "emojis,", "programming"]
    assert words["offsets"] == [[0, 0], [0, 11], [12, 19], [20, 31]]
    starts = np.array([offset[0] for offset in tokens["offsets"]])
    group = np.array([0, *(1 + np.searchsorted([0, 12, 20], starts[1:], "right") - 1)])
    first = np.flatnonzero(np.diff(group, prepend=-1))
    for one, whole in zip(tokens["layers"], words["layers"], strict=True):
        columns = np.add.reduceat(one["weights"], first, -1)
        rows = np.add.reduceat(columns, first, -2) / np.bincount(group)[:, None]
        np.testing.assert_allclose(whole["weights"], rows, **CLOSE)
        np.testing.assert_allclose(whole["weights"].sum(-1), 1, atol=1e-5)
        np.testing.assert_allclose(whole["received"], np.add.reduceat(one["received"], first, -1), **CLOSE)
        mean = np.add.reduceat(one["entropy"], first, -1) / np.bincount(group)
        np.testing.assert_allclose(whole["entropy"], mean, **CLOSE)
        np.testing.assert_allclose(whole["losses"]["entropy"], mean, **CLOSE)
    assert words["log_probs"][0] is None
    assert math.fsum(words["log_probs"][1:]) == pytest.approx(math.fsum(tokens["log_probs"][1:]))
    assert words["loss"] == tokens["loss"]


@pytest.mark.parametrize("by", ["received", "attention"])
@pytest.mark.parametrize("name", ["gpt2", "bert"])
def test_reordering_gives_every_word_once(loaded: Get, name: str, by: str) -> None:
    text = "I love the emoji and programming"
    (result,) = loaded(name).post("/attention", text=text, reorder=by, layers=[-1])
    order = result["reorder"]
    assert sorted(order["index"]) == list(range(6))
    assert order["words"] == [text.split()[i] for i in order["index"]]
    assert order["by"] == by
    assert order["text"] == " ".join(order["words"])


def test_reordering_by_received_follows_the_mean_attention_of_each_word(loaded: Get) -> None:
    here = loaded("bert")
    text = "I love the emoji and programming"
    (result,) = here.post("/attention", text=text, reorder="received", aggregate="word", **{"return": ["received"]})
    received = np.mean([layer["received"].mean(0) for layer in result["layers"]], axis=0)[1:-1]
    assert result["reorder"]["index"] == np.argsort(-received, kind="stable").tolist()


def test_a_student_is_compared_with_its_teacher_layer_by_layer(loaded: Get, tmp_path: Path) -> None:
    teacher = loaded("llama")
    student = Loaded("small", local.save_llama(tmp_path, layers=2))
    teacher.settings = teacher.settings.model_copy(update={"models": f"llama={teacher.folder},small={tmp_path}"})
    losses = [{"name": "kl"}, {"name": "map_mse", "label": "mse"}]
    fields = {"text": ["I love programming", "so do I"], "teacher": "llama", "student": "small"}
    fields |= {"layers": [[0, 1], [-1, 0]], "losses": losses}
    answer = text_results((teacher.job("/loss", fields, student=student.model),), 4096)[0]
    assert (answer["teacher"], answer["student"]) == ("llama", "small")
    for text, result in zip(fields["text"], answer["results"], strict=True):
        ids = teacher.tokenizer(text, return_tensors="pt")
        with torch.no_grad():
            mine, other = (
                [
                    layer[0].double()
                    for layer in each.eager(AutoModelForCausalLM)(**ids, output_attentions=True).attentions
                ]
                for each in (teacher, student)
            )
        assert [(pair["teacher_layer"], pair["student_layer"]) for pair in result["pairs"]] == [(0, 1), (2, 0)]
        for pair in result["pairs"]:
            p, r = mine[pair["teacher_layer"]], other[pair["student_layer"]]
            kl = torch.where(p > 0, p * (p.clamp(min=1e-30) / r.clamp(min=1e-30)).log(), 0.0).sum(-1).mean(-1)
            np.testing.assert_allclose(pair["losses"]["kl"], kl.numpy(), **CLOSE)
            allowed = torch.ones_like(p).tril().sum(-1)
            mse = ((p - r) ** 2).sum(-1).div(allowed).mean(-1)
            np.testing.assert_allclose(pair["losses"]["mse"], mse.numpy(), **CLOSE)


def test_windows_of_weights_are_cut_out_of_the_whole(loaded: Get) -> None:
    here = loaded("llama")
    fields = {"text": "I love programming and you do", "return": ["weights"], "layers": [1], "heads": [-1]}
    (whole,) = here.post("/attention", **fields)
    (cut,) = here.post("/attention", **fields, queries=[2, 5], keys=[1, 4])
    np.testing.assert_allclose(cut["layers"][0]["weights"], whole["layers"][0]["weights"][:, 2:5, 1:4], **CLOSE)
    (both,) = here.post("/attention", **fields, queries=[2, 5], reorder="attention")
    np.testing.assert_allclose(both["layers"][0]["weights"], whole["layers"][0]["weights"][:, 2:5], **CLOSE)


def test_a_truncated_text_is_scored_to_where_it_was_cut(loaded: Get) -> None:
    here = loaded("gpt2")
    (result,) = here.post("/loss", text=LONG, truncate=True)
    ids = here.tokenizer(LONG, verbose=False)["input_ids"][:61]
    assert result["truncated"] is True
    assert len(result["tokens"]) == 61
    assert result["loss"] == pytest.approx(nats_of(here.eager(AutoModelForCausalLM), ids) / 60, abs=1e-5)
    size = len(LONG[: result["offsets"][-1][1]].encode()) - len(result["tokens"][0].encode())
    assert result["bits_per_byte"] == pytest.approx(result["loss"] * 60 / math.log(2) / size)
