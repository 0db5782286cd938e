import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.pulse import Pulse

SELF = os.getpid()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """The monotonic clock, in a list so that a test can turn it on."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    yield now
    monkeypatch.undo()


@pytest.fixture
def pulse(tmp_path: Path) -> Pulse:
    return Pulse(tmp_path / "pulse")


def test_a_worker_that_never_beat_is_in_no_trouble(pulse: Pulse, clock: list[float]) -> None:
    assert pulse.trouble(SELF, 1.0, 1.0) is None


def test_a_worker_that_beats_is_in_no_trouble(pulse: Pulse, clock: list[float]) -> None:
    pulse.beat()
    clock[0] += 1.0
    assert pulse.trouble(SELF, 1.0, 1.0) is None


def test_silence_is_trouble_and_says_how_long(pulse: Pulse, clock: list[float]) -> None:
    pulse.beat()
    clock[0] += 1.25
    assert pulse.trouble(SELF, 1.0, 1.0) == "no heartbeat for 1.2 s"


def test_the_silence_of_a_predecessor_is_no_trouble_of_its_successor(pulse: Pulse, clock: list[float]) -> None:
    pulse.beat()
    clock[0] += 99
    assert pulse.trouble(SELF + 1, 1.0, 1.0) is None


def test_computing_past_the_last_deadline_is_trouble_though_the_heart_beats(pulse: Pulse, clock: list[float]) -> None:
    pulse.begin(due_s=1010.0, expected_s=1.0)
    clock[0] = 1011.0
    pulse.beat()
    assert pulse.trouble(SELF, 1.0, 1.0) is None
    clock[0] = 1011.5
    pulse.beat()
    assert pulse.trouble(SELF, 1.0, 1.0) == "it computes since 11.5 s, 1.5 s past the last deadline"
    pulse.rest()
    assert pulse.trouble(SELF, 1.0, 1.0) is None


def test_what_is_done_of_a_batch_is_at_most_what_it_was_expected_to_take(pulse: Pulse, clock: list[float]) -> None:
    assert pulse.done_s() == 0
    pulse.begin(due_s=2000.0, expected_s=3.0)
    clock[0] += 2
    assert pulse.done_s() == 2
    clock[0] += 2
    assert pulse.done_s() == 3
    pulse.rest()
    assert pulse.done_s() == 0


def test_another_process_reads_what_was_written(tmp_path: Path, pulse: Pulse, clock: list[float]) -> None:
    pulse.beat()
    reader = Pulse(tmp_path / "pulse")
    clock[0] += 5
    assert reader.trouble(SELF, 1.0, 1.0) == "no heartbeat for 5.0 s"
    reader.close()
    pulse.close()
