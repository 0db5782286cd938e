"""Texts whose lengths are told are probed one by one, padded or packed."""

from typing import Any

import pytest
import torch

from attnloss.kernels import native
from attnloss.probe import ProbeError, probe
from tests.library.probe.batches import ASKED, CLOSE, FUSED, KEY_LENGTHS, LENGTHS, compare, packed, padded
from tests.library.probe.models import MODELS, texts


@pytest.mark.parametrize("asked", [ASKED, FUSED, {}], ids=["any backend", "one pass", "nothing"])
@pytest.mark.parametrize("form", ["packed", "padded"])
@pytest.mark.parametrize("name", ["gpt2", "llama", "mistral", "gemma2", "bert"])
def test_sequences_are_their_texts_one_by_one(name: str, form: str, asked: dict[str, Any]) -> None:
    model, parts = MODELS[name](), [texts(1, length) for length in LENGTHS]
    batch, mask = padded(parts, "right")
    given = packed(parts) if form == "packed" else {"input_ids": batch, "attention_mask": mask}
    with torch.no_grad(), probe(model, **asked) as p:
        with p.sequences(LENGTHS, packed=form == "packed"):
            answer = model(**given)[0]
        records = p.records
        assert len(records) == (model.config.num_hidden_layers if asked else 0)
        each = answer[0].split(LENGTHS) if form == "packed" else [answer[i][:n] for i, n in enumerate(LENGTHS)]
        for entry, part in enumerate(parts):
            torch.testing.assert_close(each[entry], model(input_ids=part)[0][0], **CLOSE)
            for record, alone in zip(records, p.records, strict=True):
                valid = torch.arange(max(LENGTHS)) < LENGTHS[entry]
                compare(record, alone, entry, valid, valid)


@pytest.mark.parametrize("form", ["packed", "padded"])
@pytest.mark.parametrize("name", ["llama", "mistral", "bert"])
def test_sequences_are_told_without_the_native_kernel(monkeypatch: pytest.MonkeyPatch, name: str, form: str) -> None:
    monkeypatch.setattr(native, "unavailable", lambda: "not built")
    test_sequences_are_their_texts_one_by_one(name, form, FUSED)


@pytest.mark.parametrize("form", ["packed", "padded"])
def test_chunks_start_anew_with_each_text(form: str) -> None:
    test_sequences_are_their_texts_one_by_one("llama4", form, FUSED)


@pytest.mark.parametrize("form", ["packed", "padded"])
@pytest.mark.parametrize("site", ["encoder", "decoder", "cross"])
def test_sequences_of_an_encoder_decoder_have_lengths_of_both(form: str, site: Any) -> None:
    model = MODELS["bart"]()
    for half in (model.model.encoder, model.model.decoder):  # it would count places through all texts
        torch.nn.init.zeros_(half.embed_positions.weight)
    sources, targets = ([texts(1, length) for length in lengths] for lengths in (KEY_LENGTHS, LENGTHS))
    (source, source_mask), (target, target_mask) = padded(sources, "right"), padded(targets, "right")
    sides = {"encoder": (source_mask, source_mask), "decoder": (target_mask, target_mask)}
    queries, keys = sides.get(site, (target_mask, source_mask))
    if form == "packed":
        source, target = torch.cat(sources, 1), torch.cat(targets, 1)
    with torch.no_grad(), probe(model, **FUSED, site=site) as p:
        with p.sequences(LENGTHS, packed=form == "packed", key_lengths=KEY_LENGTHS):
            answer = model(input_ids=source, decoder_input_ids=target)[0]
        records = p.records
        each = answer[0].split(LENGTHS) if form == "packed" else answer
        for entry in range(len(LENGTHS)):
            alone = model(input_ids=sources[entry], decoder_input_ids=targets[entry])[0]
            torch.testing.assert_close(each[entry][: LENGTHS[entry]], alone[0], **CLOSE)
            for record, own in zip(records, p.records, strict=True):
                compare(record, own, entry, queries[entry].bool(), keys[entry].bool())


def test_padded_sequences_keep_a_position_bias() -> None:
    model = MODELS["t5"]()
    sources, targets = ([texts(1, length) for length in lengths] for lengths in (KEY_LENGTHS, LENGTHS))
    source, target = padded(sources, "right")[0], padded(targets, "right")[0]
    with torch.no_grad(), probe(model, returns=["entropy"], site="decoder") as p:
        with p.sequences(LENGTHS, packed=False, key_lengths=KEY_LENGTHS):
            answer = model(input_ids=source, decoder_input_ids=target)[0]
        records = p.records
        for entry, length in enumerate(LENGTHS):
            alone = model(input_ids=sources[entry], decoder_input_ids=targets[entry])[0]
            torch.testing.assert_close(answer[entry][:length], alone[0], **CLOSE)
            found, own = records[2].values["entropy"][entry], p.records[2].values["entropy"][0]
            torch.testing.assert_close(found[:, :length], own, **CLOSE)


@pytest.mark.parametrize("dropout", [0.0, 0.3], ids=["without dropout", "with dropout"])
@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_gradients_of_packed_texts_are_those_of_padded_ones(name: str, dropout: float) -> None:
    rate = {"gpt2": "attn_pdrop", "llama": "attention_dropout"}[name]
    model = MODELS[name](**{rate: dropout}).train(dropout > 0)
    parts = [texts(1, length) for length in LENGTHS]
    batch, mask = padded(parts, "right")
    grads = []
    with probe(model, losses=[{"name": "entropy"}], layers=[0]) as p:
        with p.sequences(LENGTHS, packed=True):
            model(**packed(parts))
        for given in (None, {"input_ids": batch, "attention_mask": mask}):
            if given is not None:
                model(**given)
            model.zero_grad(set_to_none=True)
            p.loss("entropy").backward()
            grads.append([weight.grad for weight in model.parameters() if weight.grad is not None])
    if dropout == 0 or name == "llama":
        for mine, other in zip(*grads, strict=True):
            torch.testing.assert_close(mine, other, atol=1e-5, rtol=1e-4)


def test_what_is_no_text_of_its_own_is_refused_among_sequences() -> None:
    model, parts = MODELS["llama"](), [texts(1, length) for length in LENGTHS]
    given = packed(parts)
    with torch.no_grad(), probe(model) as p, p.sequences(LENGTHS, packed=True):
        with pytest.raises(ProbeError, match="give attention_mask=ones"):
            model(input_ids=given["input_ids"], position_ids=given["position_ids"], use_cache=False)
        with pytest.raises(ProbeError, match=r"packed queries must be 1 × 23 long, came 1 × 5"):
            model(input_ids=parts[0], attention_mask=torch.ones_like(parts[0]))
        with pytest.raises(ProbeError, match="another mask"):
            model(input_ids=given["input_ids"], attention_mask=torch.ones(1, 1, 23, 23, dtype=torch.bool))
        with pytest.raises(ProbeError, match="a part of it on its own"):
            model.model(**given)
        with pytest.raises(ProbeError, match="cannot continue a cache"):
            model.generate(**given, max_new_tokens=2)
        model(**given)
    t5 = MODELS["t5"]()
    with (
        probe(t5) as p,
        p.sequences([5, 6], packed=True, key_lengths=[4, 7]),
        pytest.raises(ProbeError, match="pad them"),
    ):
        t5(input_ids=texts(1, 11), decoder_input_ids=texts(1, 11))
    with probe(t5) as p, p.sequences([5], packed=False), pytest.raises(ProbeError, match="need key_lengths"):
        t5(input_ids=texts(1, 5), decoder_input_ids=texts(1, 5))
