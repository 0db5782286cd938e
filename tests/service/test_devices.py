import pytest
from pydantic import ValidationError

from service import devices
from service.devices import worker_devices
from service.settings import Settings


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(devices, "_count_gpus", lambda: 2)
    return monkeypatch


@pytest.mark.parametrize("setting", ["auto", "cuda"])
def test_every_gpu_has_a_worker(gpus: pytest.MonkeyPatch, setting: str) -> None:
    assert worker_devices(setting) == ["cuda:0", "cuda:1"]


@pytest.mark.parametrize("setting", ["cpu", "cuda:1", "mps", "cuda:0,cuda:1", "cpu,cpu"])
def test_what_is_named_is_taken_as_it_is(gpus: pytest.MonkeyPatch, setting: str) -> None:
    assert worker_devices(setting) == setting.split(",")


def test_without_a_gpu_auto_is_the_cpu_and_on_a_mac_left_to_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_count_gpus", lambda: 0)
    monkeypatch.setattr("sys.platform", "linux")
    assert worker_devices("auto") == ["cpu"]
    monkeypatch.setattr("sys.platform", "darwin")
    assert worker_devices("auto") == ["auto"]


def test_cuda_without_a_gpu_is_left_to_the_worker_to_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_count_gpus", lambda: 0)
    assert worker_devices("cuda") == ["cuda"]


@pytest.mark.parametrize("setting", ["", "gpu", "cuda:", "cuda:x", "cpu,", ",cpu", "auto,cpu", "cpu cpu", "cpu\n"])
def test_a_device_that_is_none_is_refused(setting: str) -> None:
    with pytest.raises(ValidationError):
        Settings(device=setting)


def test_a_gpu_that_is_named_twice_has_one_worker(gpus: pytest.MonkeyPatch) -> None:
    assert worker_devices("cuda,cuda:0") == ["cuda:0", "cuda:1"]
