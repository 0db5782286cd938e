"""Padded and cached texts are told as each text on its own."""

from typing import Any

import pytest
import torch

from attnloss.probe import probe
from tests.library.probe.batches import ASKED, CLOSE, FUSED, KEY_LENGTHS, LENGTHS, compare, padded, places
from tests.library.probe.models import MODELS, PAIRS, texts


@pytest.mark.parametrize("asked", [ASKED, FUSED], ids=["any backend", "one pass"])
@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("name", ["gpt2", "llama", "mistral", "gemma2", "bert"])
def test_a_padded_batch_is_its_texts_one_by_one(name: str, side: str, asked: dict[str, Any]) -> None:
    model, parts = MODELS[name](), [texts(1, length) for length in LENGTHS]
    batch, mask = padded(parts, side)
    given = {"input_ids": batch, "attention_mask": mask, "position_ids": places(mask)}
    with torch.no_grad():
        plain = model(**given)[0]
    with torch.no_grad(), probe(model, **asked) as p:
        answer = model(**given)[0]
        records, mean = p.records, p.loss("entropy")
        losses = []
        for entry, part in enumerate(parts):
            valid = mask[entry].bool()
            torch.testing.assert_close(answer[entry][valid], model(input_ids=part)[0][0], **CLOSE)
            for record, alone in zip(records, p.records, strict=True):
                compare(record, alone, entry, valid, valid)
            losses.append(p.loss("entropy") * len(part[0]))
    torch.testing.assert_close(mean, sum(losses, torch.zeros(())) / sum(LENGTHS), **CLOSE)
    torch.testing.assert_close(answer[mask.bool()], plain[mask.bool()], **CLOSE)


@pytest.mark.parametrize("site", ["encoder", "decoder", "cross"])
@pytest.mark.parametrize("name", PAIRS)
def test_both_sides_of_an_encoder_decoder_may_be_padded(name: str, site: Any) -> None:
    model = MODELS[name]()
    sources, targets = ([texts(1, length) for length in lengths] for lengths in (KEY_LENGTHS, LENGTHS))
    (source, source_mask), (target, target_mask) = padded(sources, "right"), padded(targets, "right")
    queries, keys = ({"encoder": (source_mask,) * 2, "decoder": (target_mask,) * 2}).get(
        site, (target_mask, source_mask)
    )
    given = {"input_ids": source, "attention_mask": source_mask}
    given |= {"decoder_input_ids": target, "decoder_attention_mask": target_mask}
    with torch.no_grad(), probe(model, **ASKED, site=site) as p:
        model(**given)
        records = p.records
        for entry in range(len(LENGTHS)):
            model(input_ids=sources[entry], decoder_input_ids=targets[entry])
            for record, alone in zip(records, p.records, strict=True):
                compare(record, alone, entry, queries[entry].bool(), keys[entry].bool())


def test_generation_with_a_cache_leaves_the_record_of_its_last_token() -> None:
    model, start = MODELS["llama"](), texts(2, 5)
    expected = model.generate(start, max_new_tokens=6, min_new_tokens=6, do_sample=False)
    with probe(model, returns=["entropy", "weights"]) as p:
        found = model.generate(start, max_new_tokens=6, min_new_tokens=6, do_sample=False)
    assert (found == expected).all()
    assert [record.values["weights"].shape for record in p.records] == [(2, 6, 1, 10)] * 3


@pytest.mark.parametrize("cache", ["dynamic", "static"])
def test_a_continued_cache_says_what_the_whole_text_says(cache: str) -> None:
    import transformers

    model, whole = MODELS["mistral"](sliding_window=4), texts(1, 9)
    kinds: dict[str, Any] = {"dynamic": transformers.DynamicCache, "static": transformers.StaticCache}
    kept = kinds[cache](config=model.config, **({"max_cache_len": 16} if cache == "static" else {}))
    with torch.no_grad(), probe(model, returns=["entropy"]) as p:
        model(input_ids=whole, use_cache=False)
        expected = [record.values["entropy"] for record in p.records]
        model(input_ids=whole[:, :5], past_key_values=kept)
        first = [record.values["entropy"] for record in p.records]
        model(input_ids=whole[:, 5:], past_key_values=kept)
    for before, record, complete in zip(first, p.records, expected, strict=True):
        torch.testing.assert_close(torch.cat([before, record.values["entropy"]], -1), complete, **CLOSE)


def test_an_encoder_decoder_generates_without_records_of_its_encoder() -> None:
    model, start = MODELS["bart"](), texts(2, 5)
    expected = model.generate(start, max_new_tokens=4, min_new_tokens=4, do_sample=False, num_beams=1)
    with probe(model, returns=["entropy"], site="encoder") as p:
        found = model.generate(start, max_new_tokens=4, min_new_tokens=4, do_sample=False, num_beams=1)
    assert (found == expected).all()
    assert p.records == []
