"""What a probe tells is what transformers' eager attention weights say."""

from typing import Any

import pytest
import torch
from torch import Tensor

from attnloss.probe import heads_of, probe, sites
from tests.library.probe.models import MODELS, PLACES, bert, eager_maps, inputs, texts

EVERYTHING = ("weights", "entropy", "max", "received", "top", "lse", "output")
CLOSE = {"atol": 1e-5, "rtol": 1e-5}


def entropy(weights: Tensor) -> Tensor:
    return -(weights * weights.clamp(min=1e-30).log()).sum(-1)


@pytest.mark.parametrize(("name", "site"), PLACES)
def test_statistics_are_those_of_the_eager_weights(name: str, site: str) -> None:
    model, given = MODELS[name](), inputs(name)
    with torch.no_grad():
        answer, maps = eager_maps(model, site, **given)
        with probe(model, returns=EVERYTHING, top_k=3, site=site) as p:
            probed = model(**given)
    torch.testing.assert_close(probed[0], answer[0], **CLOSE)
    assert [(record.site, record.layer) for record in p.records] == [(site, layer) for layer in range(len(maps))]
    assert max(float(weights.var()) for weights in maps) > 0.01
    for record, weights in zip(p.records, maps, strict=True):
        torch.testing.assert_close(record.values["weights"], weights, **CLOSE)
        torch.testing.assert_close(record.values["entropy"], entropy(weights), **CLOSE)
        torch.testing.assert_close(record.values["max"], weights.amax(-1), **CLOSE)
        torch.testing.assert_close(record.values["received"], weights.sum(-2), **CLOSE)
        torch.testing.assert_close(record.values["top_weight"], weights.topk(3).values, **CLOSE)
        assert (record.counts == (weights > 0).sum(-1)).all()


@pytest.mark.parametrize(("name", "site"), PLACES)
def test_one_pass_for_output_and_statistics_gives_the_same_answer(name: str, site: str) -> None:
    model, given = MODELS[name](), inputs(name)
    with torch.no_grad():
        answer, maps = eager_maps(model, site, **given)
        with probe(model, returns=["entropy", "lse"], losses=[{"name": "entropy"}], site=site) as p:
            probed = model(**given)
    torch.testing.assert_close(probed[0], answer[0], **CLOSE)
    expected = torch.stack([entropy(weights) for weights in maps])
    torch.testing.assert_close(torch.stack([record.values["entropy"] for record in p.records]), expected, **CLOSE)
    torch.testing.assert_close(p.loss("entropy"), expected.mean(), **CLOSE)
    assert all(record.values["lse"].isfinite().all() for record in p.records)


@pytest.mark.parametrize("backend", ["chunked", "reference", "auto"])
def test_the_lse_turns_kept_scores_into_the_weights(backend: str) -> None:
    model, given = MODELS["llama"](), inputs("llama")
    with torch.no_grad(), probe(model, returns=["lse"], keep_scores=True, backend=backend) as p:
        model(**given)
    maps = eager_maps(model, "decoder", **given)[1]
    for record, weights in zip(p.records, maps, strict=True):
        scores: Any = record.scores
        logits = scores.query @ scores.key.repeat_interleave(3, 1).mT * scores.scale
        seen = (logits - record.values["lse"][..., None]).exp().tril()
        torch.testing.assert_close(seen, weights, **CLOSE)


@pytest.mark.parametrize(("name", "site"), PLACES)
def test_gradients_are_those_of_losses_of_the_eager_weights(name: str, site: str) -> None:
    model, given = MODELS[name](), inputs(name)
    answer, maps = eager_maps(model, site, **given)
    (answer[0].square().mean() + torch.stack([entropy(weights) for weights in maps]).mean()).backward()
    expected = {name: weight.grad for name, weight in model.named_parameters()}
    model.zero_grad(set_to_none=True)
    with probe(model, losses=[{"name": "entropy"}], site=site) as p:
        probed = model(**given)
        (probed[0].square().mean() + p.loss("entropy")).backward()
    found = {name: weight.grad for name, weight in model.named_parameters()}
    assert [name for name in found if found[name] is None] == [name for name in found if expected[name] is None]
    for name, grad in found.items():
        if grad is not None:
            torch.testing.assert_close(grad, expected[name], atol=2e-5, rtol=2e-4)


def test_several_losses_are_told_by_their_labels() -> None:
    model, given = MODELS["gpt2"](), inputs("gpt2")
    losses = [{"name": "sink"}, {"name": "guided", "sigma": 0.3, "label": "narrow"}, {"name": "guided", "sigma": 0.9}]
    with torch.no_grad(), probe(model, returns=["weights"], losses=losses, layers=[1, -1]) as p:
        model(**given)
    assert [record.layer for record in p.records] == [1, 2]
    assert [list(record.losses) for record in p.records] == [["sink", "narrow", "guided"]] * 2
    first = torch.stack([record.values["weights"][..., 0].mean() for record in p.records]).mean()
    torch.testing.assert_close(p.loss("sink"), first, **CLOSE)
    assert float(p.loss("narrow")) > float(p.loss("guided"))
    assert p.loss("sink", "none").shape == (2, 3, 11)


@pytest.mark.parametrize("name", ["gpt2", "llama", "t5", "gemma2"])
def test_chosen_heads_are_those_of_the_whole(name: str) -> None:
    model, given = MODELS[name](), inputs(name)
    settings: dict[str, Any] = {"returns": ["entropy", "received", "output"], "losses": [{"name": "disagreement"}]}
    with torch.no_grad():
        with probe(model, **settings) as whole:
            answer = model(**given)
        with probe(model, **settings, heads=[-1, 0]) as some:
            again = model(**given)
    last = heads_of(model, whole.records[0].site) - 1
    torch.testing.assert_close(again[0], answer[0], **CLOSE)
    for record, of_all in zip(some.records, whole.records, strict=True):
        assert record.heads == (0, last)
        for statistic, value in record.values.items():
            torch.testing.assert_close(value, of_all.values[statistic][:, [0, last]], **CLOSE)
        assert record.counts.shape == (2, 2, record.counts.shape[2])


def test_losses_between_two_models_can_be_computed_of_kept_scores() -> None:
    from attnloss.loss import evaluate_losses
    from attnloss.losses import build
    from attnloss.scores import make_other

    student, teacher = MODELS["gpt2"](), MODELS["gpt2"]()
    given = inputs("gpt2")
    with probe(student, keep_scores=True) as p, torch.no_grad(), probe(teacher, keep_scores=True) as q:
        with torch.enable_grad():
            student(**given)
        teacher(**given)
    scores, other = p.records[1].scores, q.records[1].scores
    assert scores is not None
    second = make_other(scores, other.query, other.key, other.scale)  # type: ignore[union-attr]
    loss = build("kl", scores, {"other": second})
    value = loss.reduce(evaluate_losses(scores, {"kl": loss})[0]["kl"], p.records[1].counts, 11, "mean")
    with torch.no_grad():
        mine, theirs = (eager_maps(model, "decoder", **given)[1][1] for model in (student, teacher))
    expected = (mine * (mine.clamp(min=1e-30) / theirs.clamp(min=1e-30)).log()).sum(-1).mean()
    torch.testing.assert_close(value.detach(), expected, **CLOSE)
    value.backward()
    assert student.transformer.h[0].attn.c_attn.weight.grad is not None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gpt2", {"decoder": 3}),
        ("gemma2", {"decoder": 3}),
        ("bert", {"encoder": 2}),
        ("albert", {"encoder": 2}),
        ("t5", {"encoder": 2, "decoder": 3, "cross": 3}),
        ("bart", {"encoder": 2, "decoder": 3, "cross": 3}),
    ],
)
def test_sites_and_their_heads_are_counted(name: str, expected: dict[str, int]) -> None:
    model = MODELS[name]()
    assert sites(model) == expected
    heads = {"gemma2": [6], "bart": [3, 2, 2]}.get(name, [3] * len(expected))
    assert [heads_of(model, site) for site in expected] == heads


def test_a_decoder_with_cross_attention_has_both_sites() -> None:
    model = MODELS["gpt2"](add_cross_attention=True, n_layer=2)
    assert sites(model) == {"decoder": 2, "cross": 2}
    states, given = torch.randn(2, 5, 15), texts(2, 11)
    with torch.no_grad():
        maps = eager_maps(model, "cross", input_ids=given, encoder_hidden_states=states)[1]
        with probe(model, returns=["weights"], site="cross") as p:
            model(input_ids=given, encoder_hidden_states=states)
    for record, weights in zip(p.records, maps, strict=True):
        torch.testing.assert_close(record.values["weights"], weights, **CLOSE)


def test_a_model_made_of_an_encoder_and_a_decoder_is_told_apart() -> None:
    import transformers

    halves = bert(), bert(is_decoder=True, add_cross_attention=True, num_hidden_layers=3)
    decoder = transformers.BertLMHeadModel(halves[1].config).eval()
    model = transformers.EncoderDecoderModel(encoder=halves[0], decoder=decoder)
    assert sites(model) == {"encoder": 2, "decoder": 3, "cross": 3}
    with torch.no_grad():
        for site, layers in sites(model).items():
            with probe(model, returns=["entropy"], site=site) as p:
                model(input_ids=texts(2, 11), decoder_input_ids=texts(2, 7))
            assert len(p.records) == layers
