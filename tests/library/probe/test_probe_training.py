"""A probe in a training step: checkpoints, dropout, half precision, memory."""

import copy
import functools
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

from attnloss import tiling
from attnloss.probe import ProbeError, probe
from tests.library.probe.models import MODELS, eager_maps, inputs, texts

CLOSE = {"atol": 1e-5, "rtol": 1e-4}
LENGTHS = [5, 11, 7]


def gradients(model: Any, given: dict[str, Any], site: Any, lengths: list[int] | None = None) -> dict[str, Any]:
    model.zero_grad(set_to_none=True)
    with probe(model, losses=[{"name": "entropy"}], layers=[0, -1], site=site) as p:
        if lengths is None:
            answer = model(**given)
        else:
            with p.sequences(lengths, packed=True):
                answer = model(**given)
        count = len(p.records)
        (answer[0].square().mean() + p.loss("entropy")).backward()
        assert len(p.records) == count == 2
    return {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}


def checkpointed(model: Any, **options: bool) -> None:
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable(options)


@pytest.mark.parametrize(
    ("name", "site"),
    [
        ("gpt2", "decoder"),
        ("llama", "decoder"),
        ("gemma2", "decoder"),
        ("bert", "encoder"),
        ("t5", "cross"),
        ("t5", "encoder"),
        ("t5", "decoder"),
    ],
)
def test_checkpoints_change_no_gradient_and_add_no_record(name: str, site: str) -> None:
    rates = {"gpt2": ["attn_pdrop", "resid_pdrop", "embd_pdrop"], "t5": ["dropout_rate"]}
    rates["bert"] = ["hidden_dropout_prob", "attention_probs_dropout_prob"]
    model = MODELS[name](**dict.fromkeys(rates.get(name, []), 0.0)).train()
    given = inputs(name) | ({"use_cache": False} if name != "bert" else {})
    plain = gradients(model, given, site)
    checkpointed(model, use_reentrant=False)
    again = gradients(model, given, site)
    assert plain.keys() == again.keys()
    for weight, grad in plain.items():
        torch.testing.assert_close(again[weight], grad, **CLOSE)


def test_packed_texts_may_be_checkpointed() -> None:
    model = MODELS["llama"]().train()
    given = {"input_ids": texts(1, 23), "attention_mask": torch.ones(1, 23, dtype=torch.int64), "use_cache": False}
    given["position_ids"] = torch.cat([torch.arange(length) for length in LENGTHS])[None]
    plain = gradients(model, given, "decoder", LENGTHS)
    checkpointed(model, use_reentrant=False)
    again = gradients(model, given, "decoder", LENGTHS)
    for weight, grad in plain.items():
        torch.testing.assert_close(again[weight], grad, **CLOSE)


@pytest.mark.parametrize("layers", [None, [0]], ids=["all layers", "some layers"])
def test_layers_that_share_a_module_may_be_checkpointed_if_all_are_probed(
    monkeypatch: pytest.MonkeyPatch, layers: list[int] | None
) -> None:
    model, given = MODELS["albert"]().train(), inputs("albert")
    group = model.encoder.albert_layer_groups[0]
    forward = functools.partial(checkpoint, group.forward, use_reentrant=False)
    monkeypatch.setattr(group, "forward", forward)
    with probe(model, losses=[{"name": "entropy"}], layers=layers) as p:
        answer = model(**given)
        if layers is None:
            p.loss("entropy").backward()
        else:
            with pytest.raises(ProbeError, match="layers that share a module"):
                answer[0].sum().backward()


def test_layers_that_run_without_a_graph_cannot_have_losses() -> None:
    model = MODELS["llama"]().train()
    checkpointed(model, use_reentrant=True)
    with (
        probe(model, losses=[{"name": "entropy"}]),
        pytest.raises(ProbeError, match="use_reentrant=False"),
    ):
        model(**inputs("llama"), use_cache=False)


def test_dropout_is_in_the_output_and_not_in_the_statistics() -> None:
    model, given = MODELS["llama"](attention_dropout=0.5), inputs("llama")
    maps = eager_maps(model, "decoder", **given)[1]
    model.train()
    torch.manual_seed(7)
    expected = model(**given)[0]
    with probe(model, returns=["weights"], losses=[{"name": "entropy"}], layers=[0]) as p:
        torch.manual_seed(7)
        answer = model(**given)[0]
        p.loss("entropy").backward()
    torch.testing.assert_close(answer, expected, **CLOSE)
    torch.testing.assert_close(p.records[0].values["weights"], maps[0], **CLOSE)


def off(found: Tensor, truth: Tensor) -> float:
    return float((found.float() - truth).abs().max())


@pytest.mark.parametrize("name", ["llama", "gemma2", "t5"])
@pytest.mark.parametrize("returns", [["entropy"], ["entropy", "weights"]], ids=["one pass", "any backend"])
def test_a_model_in_bfloat16_has_statistics_in_float32(name: str, returns: list[str]) -> None:
    model, given = MODELS[name]().to(torch.bfloat16), inputs(name)
    site = "cross" if name == "t5" else "decoder"
    with torch.no_grad():
        naive = eager_maps(model, site, **given)
        truth = eager_maps(copy.deepcopy(model).float(), site, **given)
        with probe(model, returns=returns, losses=[{"name": "entropy"}]) as p:
            answer = model(**given)[0]
    assert answer.dtype == torch.bfloat16
    assert off(answer, truth[0][0]) <= 2 * off(naive[0][0], truth[0][0])
    for record in p.records:
        assert {value.dtype for value in (*record.values.values(), *record.losses.values())} == {torch.float32}
    if "weights" in returns:
        assert off(p.records[0].values["weights"], truth[1][0]) <= 2 * off(naive[1][0], truth[1][0])


def test_autocast_does_not_reach_the_statistics() -> None:
    model, given = MODELS["llama"](), inputs("llama")
    with torch.no_grad(), probe(model, returns=["weights"], keep_scores=True) as p:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            model(**given)
        scores: Any = p.records[0].scores
        logits = (scores.query @ scores.key.repeat_interleave(3, 1).mT * scores.scale).tril()
    weights = p.records[0].values["weights"]
    full = logits.masked_fill(torch.ones(11, 11).triu(1).bool(), -torch.inf).softmax(-1)
    torch.testing.assert_close(weights, full, atol=1e-6, rtol=1e-5)


class LargestTensor(TorchDispatchMode):
    """Remembers the most elements that any operation made anew."""

    elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for made in result if isinstance(result, tuple) else (result,):
            if isinstance(made, torch.Tensor) and made._base is None:
                self.elements = max(self.elements, made.untyped_storage().nbytes() // made.element_size())
        return result


@pytest.mark.usefixtures("fresh_workspace")
@pytest.mark.parametrize("form", ["alone", "packed", "padded"])
@pytest.mark.parametrize("name", ["llama", "mistral"])
def test_a_training_step_makes_nothing_of_the_size_of_a_map(
    monkeypatch: pytest.MonkeyPatch, name: str, form: str
) -> None:
    monkeypatch.setattr(tiling, "TILE_SCORES", 1 << 15)
    n = 1024
    model = MODELS[name](num_hidden_layers=1, **({"sliding_window": 4096} if name == "mistral" else {})).train()
    given: dict[str, Any] = {"input_ids": texts(2 if form == "padded" else 1, n)}
    if form == "packed":
        given |= {"attention_mask": torch.ones(1, n), "position_ids": torch.arange(n)[None]}
    lengths = {"packed": [24, 1000], "padded": [n, 1000], "alone": None}[form]
    with LargestTensor() as seen, probe(model, losses=[{"name": "entropy"}], returns=["received"]) as p:
        if lengths is None:
            answer = model(**given)
        else:
            with p.sequences(lengths, packed=form == "packed"):
                answer = model(**given)
        (answer[0].square().mean() + p.loss("entropy")).backward()
    assert seen.elements < n * n / 4
