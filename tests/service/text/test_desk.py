"""The desk: text waits for its own model and for no other, and what nobody waits for is forgotten."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import service.text.desk
import service.text.models
from service.errors import Unavailable
from service.job import Job, Outcome
from service.settings import Settings
from service.text.desk import Desk
from service.text.errors import ModelUnusable
from service.text.models import load
from service.text.validate import text_loss_job
from tests.service.text import local

WITHIN_S = 30.0


class Doors:
    """Lets each model in when its door opens."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open: dict[str, threading.Event] = {"first": threading.Event(), "second": threading.Event()}
        monkeypatch.setattr(service.text.models, "load", self._load)

    def _load(self, name: str, source: str, dtype: str, device: torch.device) -> Any:
        assert self.open[name].wait(WITHIN_S)
        if source == "broken":
            raise ModelUnusable("it is broken")
        return load(name, source, dtype, device)


@pytest.fixture
def doors(monkeypatch: pytest.MonkeyPatch) -> Iterator[Doors]:
    doors = Doors(monkeypatch)
    yield doors
    for door in doors.open.values():
        door.set()


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = local.save_gpt2(tmp_path_factory.mktemp("gpt2"))
    return Settings(models=f"first={folder},second=broken")


def job(settings: Settings, model: str, number: int = 1) -> Job:
    return text_loss_job({"text": "I love programming", "model": model}, settings, number.to_bytes(16, "big"))


def next_of(desk: Desk, woken: threading.Event) -> Job | Outcome:
    give_up_s = time.monotonic() + WITHIN_S
    while not (taken := desk.take()):
        assert woken.wait(max(give_up_s - time.monotonic(), 0))
        woken.clear()
    (only,) = taken
    return only


def started(settings: Settings) -> tuple[Desk, threading.Event]:
    desk, woken = Desk(settings, torch.device("cpu")), threading.Event()
    desk.start(woken.set)
    return desk, woken


def test_a_text_waits_for_its_own_model_and_for_no_other(settings: Settings, doors: Doors) -> None:
    desk, woken = started(settings)
    desk.put(job(settings, "second", 2))
    desk.put(job(settings, "first", 1))
    assert len(desk) == 2
    assert desk.take() == []
    doors.open["first"].set()
    first = next_of(desk, woken)
    assert isinstance(first, Job)
    assert first.prepared.model.name == "first"
    assert [entry["state"] for entry in desk.public()] == ["ready", "loading"]
    doors.open["second"].set()
    second = next_of(desk, woken)
    assert isinstance(second, Outcome)
    assert second.error is not None
    assert second.error["slug"] == Unavailable.slug
    assert "it is broken" in second.error["detail"]
    assert len(desk) == 0
    desk.close()


def test_a_removed_text_is_not_given_out_and_a_repeated_one_only_once(settings: Settings, doors: Doors) -> None:
    desk, woken = started(settings)
    desk.put(job(settings, "first", 1))
    desk.put(job(settings, "first", 1))
    desk.put(job(settings, "first", 2))
    assert desk.remove(job(settings, "first", 1).id)
    assert not desk.remove(job(settings, "first", 1).id)
    doors.open["first"].set()
    only = next_of(desk, woken)
    assert isinstance(only, Job)
    assert only.id == job(settings, "first", 2).id
    assert desk.take() == []
    desk.close()


def test_a_hub_that_cannot_be_reached_is_asked_again(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    def unreachable_once(name: str, source: str, dtype: str, device: torch.device) -> Any:
        tried.append(name)
        if source == "broken":
            raise ModelUnusable("it is broken")
        if tried.count(name) == 1:
            raise ModelUnusable("no answer", passing=True)
        return load(name, source, dtype, device)

    monkeypatch.setattr(service.text.models, "load", unreachable_once)
    monkeypatch.setattr(service.text.desk, "_RETRY_S", 0.3)
    desk, woken = started(settings)
    desk.put(job(settings, "first", 1))
    first = next_of(desk, woken)
    assert isinstance(first, Outcome)
    while desk.public()[0]["state"] != "ready":
        time.sleep(0.02)
    desk.put(job(settings, "first", 2))
    assert isinstance(next_of(desk, woken), Job)
    assert tried == ["first", "second", "first"]
    desk.close()


def test_a_folder_of_pickled_weights_is_refused(tmp_path: Path) -> None:
    folder = local.save_gpt2(tmp_path)
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(ModelUnusable, match="safetensors"):
        load("pickled", str(folder), "float32", torch.device("cpu"))


def test_a_model_that_lacks_weights_is_refused_by_their_name(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = local.save_llama(tmp_path)
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelUnusable, match=r"the weights lack model\.layers\.1\.mlp\.up_proj\.weight"):
        load("partial", str(folder), "float32", torch.device("cpu"))


def test_a_model_that_brings_code_of_its_own_is_refused(tmp_path: Path) -> None:
    import json

    folder = local.save_gpt2(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Config", "AutoModelForCausalLM": "mine.Model"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "mine.py").write_text("raise SystemExit('this ran')")
    with pytest.raises(ModelUnusable):
        load("mine", str(folder), "float32", torch.device("cpu"))


@pytest.mark.parametrize(
    ("given", "sources"),
    [
        ("default", {"default": "default"}),
        ("gpt2, my=/models/my", {"gpt2": "gpt2", "my": "/models/my"}),
        ("org/name,/models/mine", {"org/name": "org/name", "mine": "/models/mine"}),
        ("", {}),
    ],
)
def test_the_setting_names_models_and_their_sources(given: str, sources: dict[str, str]) -> None:
    assert Settings(models=given).model_sources == sources


@pytest.mark.parametrize(("given", "words"), [("a=", "not 'a='"), ("=b", "not '=b'"), ("a=x,a=y", "named twice")])
def test_a_setting_that_cannot_be_read_says_what_is_wrong(given: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Settings(models=given)
