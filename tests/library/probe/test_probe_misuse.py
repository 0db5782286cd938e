"""What cannot be probed is refused with a reason; what is left behind is as it was."""

from typing import Any

import pytest
import torch
import transformers
from torch import nn
from transformers import AttentionMaskInterface, masking_utils

from attnloss.errors import FieldError
from attnloss.probe import ATTENTION, ProbeError, install, probe
from attnloss.probe.attend import attend
from attnloss.probe.state import CHECKED, PROBES
from tests.library.probe.models import MODELS, SMALL, inputs, texts

CLOSE = {"atol": 1e-5, "rtol": 1e-5}


@pytest.mark.parametrize("former", ["sdpa", "eager"])
def test_leaving_gives_the_former_attention_back(former: str) -> None:
    model = MODELS["t5"]()
    model.set_attn_implementation(former)
    with pytest.raises(IndexError), probe(model, returns=["entropy"]):
        model(input_ids=texts(1, 3) + 1000)
    held = {config._attn_implementation for config in (model.config, model.encoder.config, model.decoder.config)}
    assert held == {former}
    assert not any(module in PROBES for module in model.modules())
    assert not model._forward_hooks
    assert not model._forward_pre_hooks


@pytest.mark.parametrize("name", MODELS)
def test_an_installed_model_attends_as_before(name: str) -> None:
    model, given = MODELS[name](), inputs(name)
    with torch.no_grad():
        expected = model(**given)[0]
        install(model)
        torch.testing.assert_close(model(**given)[0], expected, **CLOSE)
        with probe(model, returns=["entropy"]):
            pass
        assert model.config._attn_implementation == ATTENTION
        torch.testing.assert_close(model(**given)[0], expected, **CLOSE)


@pytest.mark.parametrize(
    ("settings", "field", "index"),
    [
        ({"layers": [0, 3]}, "layers", (1,)),
        ({"layers": [-4]}, "layers", (0,)),
        ({"layers": []}, "layers", ()),
        ({"heads": [3]}, "heads", (0,)),
        ({"heads": [0, -4]}, "heads", (1,)),
        ({"site": "cross"}, "site", ()),
        ({"returns": ["entrpy"]}, "returns", ()),
        ({"returns": ["top"]}, "top_k", ()),
        ({"losses": [{"name": "entropy"}, {"name": "sink", "label": "entropy"}]}, "losses", (1,)),
    ],
)
def test_a_request_that_does_not_fit_names_its_field(settings: dict[str, Any], field: str, index: Any) -> None:
    with pytest.raises(FieldError) as caught:
        probe(MODELS["gpt2"](), **{"returns": ["entropy"], **settings})
    assert (caught.value.field, caught.value.index) == (field, index)


@pytest.mark.parametrize(
    ("lengths", "key_lengths", "field", "index"),
    [
        ([], None, "lengths", ()),
        ([3, 0], None, "lengths", (1,)),
        ([3], [2, 2], "key_lengths", ()),
        ([3], [0], "key_lengths", (0,)),
    ],
)
def test_lengths_that_do_not_fit_name_their_field(lengths: Any, key_lengths: Any, field: str, index: Any) -> None:
    with (
        probe(MODELS["gpt2"]()) as p,
        pytest.raises(FieldError) as caught,
        p.sequences(lengths, packed=True, key_lengths=key_lengths),
    ):
        pass
    assert (caught.value.field, caught.value.index) == (field, index)


def test_an_unknown_loss_or_label_is_refused() -> None:
    model = MODELS["gpt2"]()
    with pytest.raises(ValueError, match="loss must be one of"):
        probe(model, losses=[{"name": "entrpy"}])
    with pytest.raises(ValueError, match="sigma"):
        probe(model, losses=[{"name": "guided", "sgima": 1.0}])
    with probe(model, losses=[{"name": "entropy"}]) as p:
        with pytest.raises(ProbeError, match="no records"):
            p.loss("entropy")
        model(**inputs("gpt2"))
        with pytest.raises(ProbeError, match="there are entropy"):
            p.loss("sink")


def test_a_loss_whose_parameters_do_not_fit_the_layer_is_refused_in_the_forward() -> None:
    model = MODELS["gpt2"]()
    with (
        probe(model, losses=[{"name": "cross_entropy", "target": torch.arange(5)}]) as p,
        pytest.raises(FieldError, match="came integers of shape"),
    ):
        model(**inputs("gpt2"))
    assert p.records == []


def test_a_model_is_under_one_probe_at_a_time() -> None:
    model = MODELS["gpt2"]()
    with probe(model), pytest.raises(ProbeError, match="under a probe already"), probe(model.transformer):
        pass
    with probe(model, returns=["entropy"]) as p:
        model(**inputs("gpt2"))
    assert len(p.records) == 3


def test_what_is_no_transformers_model_is_refused() -> None:
    with pytest.raises(ProbeError, match="is not a transformers model"):
        install(nn.Linear(2, 2))
    with pytest.raises(ProbeError, match="is not a transformers model"):
        probe(nn.Linear(2, 2))


def test_a_model_outside_of_the_interface_is_refused() -> None:
    config = transformers.XLNetConfig(vocab_size=53, d_model=12, n_layer=1, n_head=2, d_inner=13)
    with pytest.raises(ProbeError, match="does not attend through transformers' attention interface"):
        install(transformers.XLNetModel(config))


def test_attention_sinks_are_refused() -> None:
    config = transformers.GptOssConfig(
        **SMALL | {"hidden_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1},
        head_dim=6,
        intermediate_size=7,
        num_local_experts=2,
        num_experts_per_tok=1,
    )
    with pytest.raises(ProbeError, match="sinks as in gpt-oss"):
        install(transformers.GptOssForCausalLM(config))
    query = torch.randn(1, 2, 3, 4)
    with pytest.raises(ProbeError, match="sinks as in gpt-oss"):
        attend(nn.Identity(), query, query, query, None, s_aux=torch.zeros(2))


def test_layers_that_bypass_the_interface_are_missed_aloud(monkeypatch: pytest.MonkeyPatch) -> None:
    model = MODELS["gpt2"]()
    monkeypatch.setattr(model.transformer.h[1].attn, "forward", lambda states, *rest, **options: (states, None))
    with probe(model, returns=["entropy"]), pytest.raises(ProbeError, match="3 attention layers, but 2 went"):
        model(**inputs("gpt2"))


@pytest.mark.parametrize("changed", [None, masking_utils.flash_attention_mask])
def test_masks_that_transformers_would_drop_are_missed_aloud(monkeypatch: pytest.MonkeyPatch, changed: Any) -> None:
    model = MODELS["gpt2"]()
    with probe(model, returns=["entropy"]):
        monkeypatch.setitem(AttentionMaskInterface._global_mapping, ATTENTION, changed)
        if changed is None:
            monkeypatch.delitem(AttentionMaskInterface._global_mapping, ATTENTION)
        with pytest.raises(ProbeError, match="masks would be dropped"):
            model(**inputs("gpt2"))


def test_a_causal_mask_that_lets_a_later_key_through_is_missed_aloud(monkeypatch: pytest.MonkeyPatch) -> None:
    model = MODELS["gpt2"]()
    monkeypatch.setattr(masking_utils, "sdpa_mask", lambda **options: torch.ones(2, 1, 11, 11, dtype=torch.bool))
    with probe(model, returns=["entropy"]), pytest.raises(ProbeError, match="sees a later key"):
        model(**inputs("gpt2"))
    assert model not in CHECKED


def test_a_forward_that_fails_leaves_the_probe_usable() -> None:
    model = MODELS["gpt2"]()
    with probe(model, returns=["entropy"]) as p:
        with pytest.raises(IndexError):
            model(input_ids=texts(1, 3) + 1000)
        with pytest.raises(TypeError):
            model(texts(1, 3), input_ids=texts(1, 3))
        model(**inputs("gpt2"))
        assert len(p.records) == 3


@pytest.mark.parametrize("name", ["llama", "bert"])
def test_a_mask_of_the_callers_own_says_what_is_allowed(name: str) -> None:
    model, given = MODELS[name](), inputs(name)
    allowed = torch.rand(2, 1, 11, 11) > 0.4
    allowed |= torch.eye(11).bool()
    additive = torch.where(allowed, 0.0, torch.finfo(torch.float32).min)
    records = []
    with torch.no_grad(), probe(model, returns=["weights", "entropy"]) as p:
        for mask in (allowed, additive, additive + torch.randn(11)):
            model(**given, attention_mask=mask)
            records.append(p.records)
    for boolean, same, biased in zip(*records, strict=True):
        assert ((boolean.values["weights"] > 0) == allowed).all()
        torch.testing.assert_close(same.values["entropy"], boolean.values["entropy"], **CLOSE)
        assert ((biased.values["weights"] > 0) == allowed).all()
    assert not torch.equal(records[0][0].values["entropy"], records[2][0].values["entropy"])
